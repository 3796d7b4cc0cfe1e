#!/bin/bash
# One training run on a slice of Cloud TPU VMs, which resumes by itself when the slice is preempted or a process is lost:
#
#   launch/tpu_vm.sh RECIPE [KEY=VALUE ...] [-- --spot ...]
#
# Creates the slice that the recipe's `hardware` names, or takes the one of the run's name that is there, installs this
# repository on every worker and runs `socsci-jax train` on all. What follows -- goes to `gcloud compute tpus tpu-vm
# create`. Project and zone are those of `gcloud config`. SETUP is a command for each worker, such as one that mounts the
# storage on which the recipe's paths lie. SIGTERM or Ctrl-C stops the run with a checkpoint. The slice stays: delete it.
set -u

# So often in a row the run may end in less than an hour, other than by a preemption, before it is left ended.
FRUITLESS=3
repository=$(cd "$(dirname "$0")/.." && pwd)
recipe=() create=()
while [ $# -gt 0 ]; do
    [ "$1" = -- ] && shift && create=("$@") && break
    recipe+=("$1")
    shift
done
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

# The complete recipe without the files that it extends, and what its hardware is called.
said=$(python - "$work/recipe.yaml" "${recipe[@]}" <<'END'
import pathlib, re, sys
from socsci_jax.errors import InputError
from socsci_jax.training.recipe_files import load_recipe

SOFTWARE = {"v4": "tpu-ubuntu2204-base", "v5e": "v2-alpha-tpuv5-lite", "v5p": "v2-alpha-tpuv5", "v6e": "v2-alpha-tpuv6e"}
try:
    recipe = load_recipe(sys.argv[2], sys.argv[3:])
    if recipe.machine.accelerator.name not in SOFTWARE:
        raise InputError(f"hardware {recipe.hardware} is no TPU; choose a slice, such as hardware=v5p-16.")
except InputError as error:
    sys.exit(f"error: {error}")
pathlib.Path(sys.argv[1]).write_text(recipe.rendered())
name = re.sub(r"[^a-z0-9]+", "-", f"run-{recipe.name}".lower())[:60].strip("-")
print(name, recipe.hardware.replace("v5e-", "v5litepod-"), SOFTWARE[recipe.machine.accelerator.name])
END
) || exit 2
read -r name slice software <<<"$said"
tar --create --file="$work/socsci_jax.tar" --directory="$repository" --exclude=__pycache__ \
    setup.py pyproject.toml README.md LICENSE socsci_jax data_pipelines

tpu() {
    local action=$1
    shift
    gcloud compute tpus tpu-vm "$action" "$name" "$@"
}

prepare() {
    # By which the processes know each other.
    (umask 077 && od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$work/run.secret")
    case $(tpu describe --format='value(state)' 2>/dev/null) in
    READY) ;;
    "") tpu create --accelerator-type="$slice" --version="$software" "${create[@]}" ;;
    *) # preempted, or ended
        tpu delete --quiet
        tpu create --accelerator-type="$slice" --version="$software" "${create[@]}"
        ;;
    esac &&
        gcloud compute tpus tpu-vm scp "$work/recipe.yaml" "$work/run.secret" "$work/socsci_jax.tar" "$name:" --worker=all &&
        tpu ssh --worker=all --command='set -e
            chmod 600 run.secret
            mkdir -p socsci_jax && tar --extract --file=socsci_jax.tar --directory=socsci_jax
            python3 -m pip install --quiet uv
            [ -d venv ] || python3 -m uv venv --quiet --python=3.12 venv
            python3 -m uv pip install --quiet --python=venv/bin/python "socsci_jax[tpu] @ file://$PWD/socsci_jax"
            '"${SETUP:-}"
}

# An earlier start may still train after this machine lost its connection: it is stopped first, with a checkpoint.
train='flock --nonblock run.lock true || kill -TERM "$(cat run.pid)"
exec flock --timeout=600 --conflict-exit-code=76 run.lock \
    sh -c "echo \$\$ >run.pid; SOCSCI_JAX_SECRET=\$(cat run.secret); export SOCSCI_JAX_SECRET; exec venv/bin/socsci-jax train recipe.yaml"'

stopping=
stop() {
    stopping=1
    tpu ssh --worker=all --command='kill -TERM "$(cat run.pid)"'
}
trap stop TERM INT

fruitless=0
while [ -z "$stopping" ]; do
    began=$SECONDS
    prepare || exit 1
    [ -z "$stopping" ] || exit 75
    # Apart from this shell's terminal, whose Ctrl-C would cut the connection.
    setsid gcloud compute tpus tpu-vm ssh "$name" --worker=all --command="$train" &
    connection=$!
    wait $connection
    status=$?
    # The first wait ends when the signal comes, the second with the run.
    [ -z "$stopping" ] || { wait $connection; status=$?; }
    case $status in
    75) ;;
    76 | 77 | 79 | 134 | 137 | 255) # 255: the connection, or the slice, is gone
        [ $((SECONDS - began)) -gt 3600 ] && fruitless=0
        fruitless=$((fruitless + 1))
        [ $fruitless -gt $FRUITLESS ] && break
        ;;
    *) break ;;
    esac
    [ -z "$stopping" ] && echo "tpu_vm.sh: status $status: started again"
done
exit $status
