#!/bin/bash
# One training run as a SLURM job, one process per GPU, which resumes by itself after a preemption, at its time limit
# and when a process is lost. Submit it with submit.py, which knows from the recipe how many nodes and GPUs to ask for:
#
#   python launch/submit.py RECIPE [KEY=VALUE ...] [-- --partition=gpu --time=12:00:00 ...]
#
#SBATCH --requeue
#SBATCH --open-mode=append
# Five minutes before its time is up every process of the step, not this script, is asked to write a checkpoint.
#SBATCH --signal=TERM@300
set -u

# So often in a row the run may end without a newer checkpoint before it is left ended.
FRUITLESS=3
kept=slurm-$SLURM_JOB_ID.restarts

# The newest checkpoint's step, on a disk or in object storage.
newest() {
    python - "$@" <<'END'
import sys
from etils import epath
from socsci_jax.training.recipe_files import load_recipe

recipe = load_recipe(sys.argv[1], sys.argv[2:])
folder = epath.Path(recipe.checkpoints.folder or recipe.output / "checkpoints")
steps = [int(path.name) for path in folder.iterdir() if path.name.isdigit()] if folder.exists() else []
print(max(steps, default=-1))
END
}

go_on() {
    # A job that somebody canceled, or that SLURM requeues already, is no longer running.
    if [ "$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T)" = RUNNING ]; then
        echo "slurm.sh: status $1, $2: requeued (restart $((${SLURM_RESTART_COUNT:-0} + 1)))"
        scontrol requeue "$SLURM_JOB_ID" && exit "$1"
        echo "slurm.sh: SLURM does not requeue this job: submit it again to resume from its newest checkpoint"
    fi
    exit "$1"
}

# By which the processes know each other; srun hands it to all of them.
SOCSCI_JAX_SECRET=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
export SOCSCI_JAX_SECRET

# SLURM's SIGTERM must not end this script before the processes have written their checkpoint.
trap : TERM
# The first process to end leaves the others two minutes to end with a checkpoint, or with a sentence of their own.
srun --kill-on-bad-exit=0 --wait=120 socsci-jax train "$@"
status=$?
case $status in
75)
    go_on 75 "stopped after a checkpoint"
    ;;
76 | 77 | 79 | 134 | 137) # 137: a process was killed, by the kernel for its memory or by srun because it hung
    step=$(newest "$@") || step=unknown
    fruitless=0 last=none
    [ -e "$kept" ] && read -r last fruitless <"$kept"
    [ "$step" = "$last" ] && fruitless=$((fruitless + 1)) || fruitless=1
    echo "$step $fruitless" >"$kept"
    [ "$fruitless" -le "$FRUITLESS" ] && go_on $status "newest checkpoint $step"
    echo "slurm.sh: status $status after $fruitless starts without a checkpoint newer than $step: not requeued"
    ;;
esac
exit $status
