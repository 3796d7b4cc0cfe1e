"""Launchers: what they start, when they start it again, and what status they return."""

import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import kubernetes_validate
import pytest
import quick_programs
import yaml
from small import small_recipe, small_store

from socsci_jax.distributed.place import Place
from socsci_jax.distributed.schedulers import find_place
from socsci_jax.errors import InputError
from socsci_jax.hardware import parse_machine
from socsci_jax.training.recipe_files import load_recipe

REPOSITORY = Path(__file__).resolve().parent.parent.parent
LAUNCH = REPOSITORY / "launch"
RECIPE = REPOSITORY / "recipes" / "tiny.yaml"
# The first in which failing pods are judged by their status without a feature gate, and the newest that is known.
VERSIONS = ("1.31", kubernetes_validate.latest_version())
free_port = runpy.run_path(str(LAUNCH / "local.py"))["free_port"]
sbatch_options = runpy.run_path(str(LAUNCH / "submit.py"))["sbatch_options"]
render = runpy.run_path(str(LAUNCH / "kubernetes" / "render.py"))["render"]

# Each process appends a line for each start, then does what `{what}` says, knowing its number and which start it is.
SCRIPT = """
import os, pathlib, signal, sys, time
me = int(os.environ["SOCSCI_JAX_PROCESS_ID"])
log = pathlib.Path(sys.argv[1], str(me))
with log.open("a") as file:
    file.write(os.environ["SOCSCI_JAX_COORDINATOR"] + "\\n")
start = len(log.read_text().splitlines())
def on_sigterm(*_):
    time.sleep(0.5)
    (log.parent / f"checkpoint-{me}").touch()
    sys.exit(75)
"""


def local(folder: Path, what: str, *options: str) -> subprocess.Popen:
    command = [
        sys.executable,
        LAUNCH / "local.py",
        "2",
        *options,
        "--",
        sys.executable,
        "-S",  # starts in half the time; the script needs nothing that is installed
        "-c",
        SCRIPT + what,
        folder,
    ]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def started(folder: Path) -> list[int]:
    """How often each process was started."""
    return [len((folder / str(n)).read_text().splitlines()) for n in range(2)]


def wait_for(*paths: Path) -> None:
    until = time.monotonic() + 20
    while not all(path.exists() for path in paths):
        assert time.monotonic() < until, f"none of {paths} in 20 s"
        time.sleep(0.05)


def test_all_processes_done_is_status_0_and_one_start(tmp_path):
    assert local(tmp_path, "", "--restarts", "3").wait(timeout=30) == 0
    assert started(tmp_path) == [1, 1]


@pytest.mark.parametrize("status", [75, 76, 77, 79, 134])
def test_a_status_that_asks_for_it_starts_all_processes_again(tmp_path, status):
    assert local(tmp_path, f"sys.exit({status} if start < 3 else 0)", "--restarts", "5").wait(timeout=60) == 0
    assert started(tmp_path) == [3, 3]


def test_all_are_started_again_at_most_so_often(tmp_path):
    assert local(tmp_path, "sys.exit(76)", "--restarts", "1").wait(timeout=30) == 76
    assert started(tmp_path) == [2, 2]


@pytest.mark.parametrize("status", [1, 2, 78])
def test_another_status_is_returned_at_once(tmp_path, status):
    assert local(tmp_path, f"sys.exit({status})", "--restarts", "3").wait(timeout=30) == status
    assert started(tmp_path) == [1, 1]


def test_a_killed_process_starts_all_again(tmp_path):
    what = "os.kill(os.getpid(), signal.SIGKILL) if start == 1 else None"
    assert local(tmp_path, what, "--restarts", "1").wait(timeout=30) == 0
    assert started(tmp_path) == [2, 2]


@pytest.mark.parametrize(
    ("statuses", "returned"),
    [
        ((76, 2), 2),
        ((76, 78), 78),
        ((134, 78), 78),
        ((0, 3), 3),
        ((76, 77), 77),
        ((79, 76), 79),
        ((137, 76), 76),
        ((0, 134), 134),
    ],
)
def test_the_status_that_says_most_is_returned(tmp_path, statuses, returned):
    assert local(tmp_path, f"sys.exit({statuses}[me])").wait(timeout=30) == returned


@pytest.mark.slow
def test_the_others_may_end_by_themselves_after_one_failed(tmp_path):
    what = "time.sleep(3 * me)\n(log.parent / f'said-{me}').touch()\nsys.exit(76)"
    assert local(tmp_path, what).wait(timeout=30) == 76
    assert (tmp_path / "said-1").exists()


def test_sigterm_is_passed_on_and_the_checkpoint_waited_for(tmp_path):
    what = "signal.signal(signal.SIGTERM, on_sigterm)\n(log.parent / f'ready-{me}').touch()\ntime.sleep(60)"
    launcher = local(tmp_path, what, "--restarts", "3")
    wait_for(tmp_path / "ready-0", tmp_path / "ready-1")
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(timeout=30) == 75
    assert (tmp_path / "checkpoint-0").exists() and (tmp_path / "checkpoint-1").exists()
    assert started(tmp_path) == [1, 1]


@pytest.mark.slow
def test_processes_that_do_not_end_in_their_grace_are_killed(tmp_path):
    what = "(log.parent / f'ready-{me}').write_text(str(os.getpid()))\n"
    what += "signal.signal(signal.SIGTERM, signal.SIG_IGN) if me else os.kill(os.getpid(), signal.SIGSTOP)\n"
    launcher = local(tmp_path, what + "time.sleep(60)", "--grace", "1")
    wait_for(tmp_path / "ready-0", tmp_path / "ready-1")
    time.sleep(0.5)
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(timeout=30) == 137
    for number in range(2):
        assert not Path("/proc", (tmp_path / f"ready-{number}").read_text()).exists()


@pytest.mark.slow
def test_a_stopped_process_is_killed_after_the_others_have_ended(tmp_path):
    what = "(log.parent / f'pid-{me}').write_text(str(os.getpid()))\n"
    what += "os.kill(os.getpid(), signal.SIGSTOP) if me else None\nsys.exit(76)"
    assert local(tmp_path, what).wait(timeout=60) == 76
    assert not Path("/proc", (tmp_path / "pid-1").read_text()).exists()


# SLURM


@pytest.mark.parametrize(
    ("hardware", "options"),
    [
        ("8xh100", "--nodes=1 --ntasks-per-node=8 --gpus-per-node=8"),
        ("32xh100", "--nodes=4 --ntasks-per-node=8 --gpus-per-node=8"),
        ("2xl40s", "--nodes=1 --ntasks-per-node=2 --gpus-per-node=2"),
        ("2xcpu", "--nodes=1 --ntasks-per-node=2"),
    ],
)
def test_slurm_is_asked_for_the_recipes_hardware(hardware, options):
    assert sbatch_options(parse_machine(hardware), devices_per_node=8) == options.split()


@pytest.mark.parametrize(
    ("hardware", "message"),
    [
        ("12xh100", "hardware 12xh100 is 12 devices, which do not fill nodes of 8"),
        ("v5p-16", "hardware v5p-16 is a TPU, which SLURM does not run"),
    ],
)
def test_hardware_that_slurm_cannot_give_is_an_error(hardware, message):
    with pytest.raises(InputError, match=message):
        sbatch_options(parse_machine(hardware), devices_per_node=8)


def status_of(monkeypatch, script: Path, *arguments: str) -> object:
    """As `python script arguments`, in this process: one of its own would spend a second on imports."""
    monkeypatch.setattr(sys, "argv", [str(script), *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(script), run_name="__main__")
    return ended.value.code


def test_the_recipe_and_its_overrides_are_submitted_with_slurms_own_options(monkeypatch, capsys):
    own = ("--devices-per-node", "2", "--show", "--", "--time=60")
    assert status_of(monkeypatch, LAUNCH / "submit.py", str(RECIPE), "hardware=4xcpu", *own) == 0
    options = "--job-name=tiny --nodes=2 --ntasks-per-node=2 --time=60"
    assert capsys.readouterr().out == f"sbatch {options} {LAUNCH / 'slurm.sh'} {RECIPE} hardware=4xcpu\n"


def batch(
    folder: Path, status: int, *, newest: int | None = None, state: str = "RUNNING", **commands: str
) -> bool:
    """Runs the batch script of a job whose processes end with `status`; True if the job was requeued."""
    if newest is not None:
        (folder / "run" / "checkpoints" / str(newest)).mkdir(parents=True)
    commands |= {"srun": f"exit {status}", "squeue": f"echo {state}", "scontrol": "touch requeued"}
    for name, line in commands.items():
        (folder / name).write_text(f"#!/bin/bash\n{line}\n")
        (folder / name).chmod(0o755)
    (folder / "requeued").unlink(missing_ok=True)
    path = f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", LAUNCH / "slurm.sh", RECIPE, f"output={folder}/run"],
        cwd=folder,
        env=os.environ | {"PATH": path, "SLURM_JOB_ID": "7"},
        timeout=60,
    )
    assert done.returncode == status
    return (folder / "requeued").exists()


@pytest.mark.parametrize(
    ("status", "requeued"),
    [(0, False), (1, False), (2, False), (78, False), *((status, True) for status in (75, 77, 79, 134, 137))],
)
def test_a_slurm_job_goes_on_after_a_checkpoint_and_passes_other_statuses_on(tmp_path, status, requeued):
    # Which checkpoint is the newest is looked up below.
    assert batch(tmp_path, status, python="echo 10") == requeued


def test_a_slurm_job_looks_for_its_newest_checkpoint(tmp_path):
    assert batch(tmp_path, 76, newest=10)
    assert (tmp_path / "slurm-7.restarts").read_text() == "10 1\n"


def test_a_canceled_slurm_job_stays_canceled(tmp_path):
    assert not batch(tmp_path, 75, state="COMPLETING")


@pytest.mark.slow
def test_a_slurm_job_without_a_newer_checkpoint_is_requeued_three_times_in_a_row(tmp_path):
    assert [batch(tmp_path, 76) for _ in range(2)] == [True, True]
    assert [batch(tmp_path, 76, newest=10), *(batch(tmp_path, 76) for _ in range(3))] == [
        True,
        True,
        True,
        False,
    ]


# Kubernetes


def manifests(*overrides: str, **options) -> dict[str, dict]:
    """What is rendered, each valid by the API's own schemas; unknown fields are errors."""
    rendered = yaml.safe_load_all(
        render(str(RECIPE), list(overrides), image="image:1", claim="data", **options)
    )
    found = {manifest["kind"]: manifest for manifest in rendered}
    for manifest in found.values():
        for version in VERSIONS:
            kubernetes_validate.validate(manifest, version, strict=True)
    return found


def test_the_schemas_refuse_an_unknown_field():
    job = manifests()["Job"]
    job["spec"]["podFailurePolicies"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, VERSIONS[0], strict=True)


@pytest.mark.parametrize(
    ("hardware", "pods", "resources", "slice_shape"),
    [
        ("16xh100", 2, {"nvidia.com/gpu": 8}, None),
        ("1xl40s", 1, {"nvidia.com/gpu": 1}, None),
        ("v5p-16", 2, {"google.com/tpu": 4}, ("tpu-v5p-slice", "2x2x2")),
        ("v5e-8", 1, {"google.com/tpu": 8}, ("tpu-v5-lite-podslice", "2x4")),
        ("v6e-64", 16, {"google.com/tpu": 4}, ("tpu-v6e-slice", "8x8")),
        ("2xcpu", 2, None, None),
    ],
)
def test_kubernetes_is_asked_for_the_recipes_hardware(hardware, pods, resources, slice_shape):
    job = manifests(f"hardware={hardware}")["Job"]["spec"]
    assert job["completions"] == job["parallelism"] == pods
    (container,) = job["template"]["spec"]["containers"]
    assert container.get("resources", {}).get("limits") == resources
    selector = job["template"]["spec"].get("nodeSelector")
    assert (selector and tuple(selector.values())) == slice_shape


def test_the_whole_recipe_goes_into_the_manifest(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(manifests("optimizer.epochs=7")["ConfigMap"]["data"]["recipe.yaml"])
    assert load_recipe(path) == load_recipe(RECIPE, ["optimizer.epochs=7"])


def test_the_job_starts_again_on_the_statuses_that_ask_for_it_and_fails_on_final_ones():
    rules = manifests()["Job"]["spec"]["podFailurePolicy"]["rules"]
    by_status = {
        status: rule["action"] for rule in rules for status in rule.get("onExitCodes", {}).get("values", [])
    }
    assert by_status == {75: "Ignore", 76: "Ignore", 77: "Ignore", 134: "Ignore", 2: "FailJob", 78: "FailJob"}


def test_pods_find_pod_0_through_the_service():
    found = manifests("hardware=2xcpu", "name=Qwen2.5_x")
    job, service = found["Job"], found["Service"]
    pod = job["spec"]["template"]["spec"]
    assert pod["subdomain"] == service["metadata"]["name"] and service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    # A pod's hostname is the Job's name with its index.
    assert environment_of(job)["SOCSCI_JAX_COORDINATOR"] == "run-qwen2-5-x-0.run-qwen2-5-x:20000"


def environment_of(job: dict) -> dict[str, str]:
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}


@pytest.mark.parametrize("index", [0, 1])
def test_a_pod_knows_its_place(index):
    # The Job's controller adds the index to each container.
    environment = environment_of(manifests("hardware=2xcpu")["Job"]) | {"JOB_COMPLETION_INDEX": str(index)}
    assert find_place(environment=environment) == Place(
        coordinator="run-tiny-0.run-tiny:20000",
        num_processes=2,
        process_id=index,
        local_devices=None,
        said_by="Kubernetes",
    )


def test_pods_on_tpus_leave_their_place_to_gke():
    (container,) = manifests("hardware=v5p-16")["Job"]["spec"]["template"]["spec"]["containers"]
    assert [variable["name"] for variable in container["env"]] == ["SOCSCI_JAX_SECRET"]


def test_all_pods_have_the_secret_of_this_rendering():
    first, second = (manifests("hardware=2xcpu") for _ in range(2))
    assert first["Secret"]["stringData"]["secret"] != second["Secret"]["stringData"]["secret"]
    (container,) = first["Job"]["spec"]["template"]["spec"]["containers"]
    (reference,) = [
        v["valueFrom"]["secretKeyRef"] for v in container["env"] if v["name"] == "SOCSCI_JAX_SECRET"
    ]
    assert reference == {"name": first["Secret"]["metadata"]["name"], "key": "secret"}


def test_a_node_selector_without_a_value_is_bad_input(monkeypatch, capsys):
    options = ("--image=i", "--claim=c", "--node-selector=gpu")
    assert status_of(monkeypatch, LAUNCH / "kubernetes" / "render.py", str(RECIPE), *options) == 2
    assert "--node-selector 'gpu': give KEY=VALUE" in capsys.readouterr().err


@pytest.mark.slow
def test_the_pods_command_trains_a_recipe(tmp_path):
    """Both containers' command on this machine, in the environment of their pods."""
    recipe = tmp_path / "small.yaml"
    store = small_store(tmp_path / "store")
    settings = small_recipe(store, tmp_path / "run", hardware="2xcpu", parallelism={"data": 2})
    recipe.write_text(yaml.safe_dump(settings))
    rendered = list(yaml.safe_load_all(render(str(recipe), [], image="image:1", claim="data")))
    (configuration,) = (manifest for manifest in rendered if manifest["kind"] == "ConfigMap")
    (job,) = (manifest for manifest in rendered if manifest["kind"] == "Job")
    mounted = tmp_path / "recipe.yaml"
    mounted.write_text(configuration["data"]["recipe.yaml"])
    (container,) = job["spec"]["template"]["spec"]["containers"]
    command = [str(mounted) if word == "/recipe/recipe.yaml" else word for word in container["command"]]
    command[0] = str(Path(sys.executable).parent / command[0])
    environment = environment_of(job) | {"SOCSCI_JAX_COORDINATOR": f"127.0.0.1:{free_port()}"}
    environment = os.environ | {"XLA_FLAGS": quick_programs.FLAGS, "JAX_PLATFORMS": "cpu"} | environment
    pods = [
        subprocess.Popen(command, env=environment | {"JOB_COMPLETION_INDEX": str(index)}, cwd=tmp_path)
        for index in range(2)
    ]
    try:
        assert [pod.wait(timeout=300) for pod in pods] == [0, 0]
    finally:
        for pod in pods:
            pod.kill()
    assert (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()


# TPU VMs

# Stands in for Google's command: keeps the slice's state, and runs what a worker would be told to train.
GCLOUD = """#!/bin/bash
shift 3
echo "$*" | head -1 >>gcloud.log
case $1 in
describe) cat state 2>/dev/null ;;
create) echo READY >state ;;
delete) rm state ;;
ssh)
    command=${@: -1}
    [[ $command == *run.pid* ]] || exit 0
    bash -c "${command#--command=}"
    ;;
esac
"""
# Ends as often as there are lines in `statuses` with the status of each.
TRAINER = """#!/bin/bash
echo "$*" >>starts
status=$(head -1 statuses)
sed -i 1d statuses
[ "$status" = 255 ] && echo PREEMPTED >state
[ "$status" = wait ] && { trap 'touch checkpoint; exit 75' TERM; touch ready; while :; do sleep 0.1; done; }
exit ${status:-0}
"""


def tpu_vm(folder: Path, *statuses: int | str, hardware: str = "v5p-16") -> subprocess.Popen:
    for path, text in {"gcloud": GCLOUD, "venv/bin/socsci-jax": TRAINER}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
        (folder / path).chmod(0o755)
    (folder / "statuses").write_text("".join(f"{status}\n" for status in statuses))
    return subprocess.Popen(
        [LAUNCH / "tpu_vm.sh", RECIPE, f"hardware={hardware}", "--", "--spot"],
        cwd=folder,
        env=os.environ | {"PATH": f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )


def asked(folder: Path, action: str) -> list[str]:
    return [line for line in (folder / "gcloud.log").read_text().splitlines() if line.startswith(action)]


def tpu_starts(folder: Path) -> int:
    return len((folder / "starts").read_text().splitlines())


def test_the_recipes_slice_is_created_and_trains(tmp_path):
    assert tpu_vm(tmp_path, 0).wait(timeout=60) == 0
    (created,) = asked(tmp_path, "create")
    assert "create run-tiny --accelerator-type=v5p-16 " in created and created.endswith(" --spot")
    assert (tmp_path / "starts").read_text() == "train recipe.yaml\n"


def test_hardware_that_is_no_tpu_is_an_error(tmp_path):
    assert tpu_vm(tmp_path, hardware="8xh100").wait(timeout=60) == 2
    assert not (tmp_path / "gcloud.log").exists()


def test_a_tpu_run_goes_on_after_a_checkpoint_and_passes_other_statuses_on(tmp_path):
    assert tpu_vm(tmp_path, 75, 76, 79, 78).wait(timeout=60) == 78
    assert tpu_starts(tmp_path) == 4 and len(asked(tmp_path, "create")) == 1


def test_a_tpu_run_without_an_hour_of_training_is_started_again_at_most_three_times(tmp_path):
    assert tpu_vm(tmp_path, *[76] * 9).wait(timeout=60) == 76
    assert tpu_starts(tmp_path) == 4


def test_a_preempted_slice_is_created_anew(tmp_path):
    assert tpu_vm(tmp_path, 255, 0, hardware="v5e-8").wait(timeout=60) == 0
    assert len(asked(tmp_path, "delete")) == 1
    # Google's name of the slice is another one than the recipe's.
    assert [" --accelerator-type=v5litepod-8 " in line for line in asked(tmp_path, "create")] == [True, True]


def test_sigterm_stops_a_tpu_run_with_a_checkpoint(tmp_path):
    launcher = tpu_vm(tmp_path, "wait", 0)
    wait_for(tmp_path / "ready")
    launcher.send_signal(signal.SIGTERM)
    assert launcher.wait(timeout=30) == 75
    assert (tmp_path / "checkpoint").exists() and tpu_starts(tmp_path) == 1
