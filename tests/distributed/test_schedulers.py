"""A process's place: complete settings give it, absent, malformed and contradicting ones are each one sentence."""

import http.server
import threading

import pytest

from socsci_jax.distributed.place import PORTS, Place
from socsci_jax.distributed.schedulers import find_place
from socsci_jax.distributed.slurm import expand_hosts
from socsci_jax.errors import InputError

OURS = {
    "SOCSCI_JAX_COORDINATOR": "host:1234",
    "SOCSCI_JAX_NUM_PROCESSES": "4",
    "SOCSCI_JAX_PROCESS_ID": "3",
}
# The second task on the second of two nodes, as srun sets it.
SLURM = {
    "SLURM_JOB_ID": "12345",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_NODELIST": "node[01-02]",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    "SLURM_NODEID": "1",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
}
# What the Job controller sets, and what the manifest does.
KUBERNETES = {
    "JOB_COMPLETION_INDEX": "1",
    "SOCSCI_JAX_COORDINATOR": "tiny-0.tiny:20000",
    "SOCSCI_JAX_NUM_PROCESSES": "2",
}
GKE = {"TPU_WORKER_ID": "1", "TPU_WORKER_HOSTNAMES": "tiny-0.tiny,tiny-1.tiny"}
SLICES = {
    "MEGASCALE_NUM_SLICES": "2",
    "MEGASCALE_SLICE_ID": "1",
    "MEGASCALE_COORDINATOR_ADDRESS": "slice-0-0.tiny:8080",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_MCA_orte_hnp_uri": "539688960.0;tcp://10.96.0.1,10.148.0.1:34911",
}


def place(environment: dict[str, str], **arguments) -> Place | None:
    return find_place(environment=environment, **arguments)


def refusal(environment: dict[str, str], **arguments) -> str:
    with pytest.raises(InputError) as caught:
        place(environment, **arguments)
    return str(caught.value)


COMPLETE = [
    ("SOCSCI_JAX_*", OURS, "host:1234", 4, 3, None),
    ("SLURM", SLURM, "node01:22415", 4, 3, (1,)),
    ("Kubernetes", KUBERNETES, "tiny-0.tiny:20000", 2, 1, None),
    ("TPU", GKE, "tiny-0.tiny:20000", 2, 1, None),
    ("TPU", GKE | SLICES, "slice-0-0.tiny:20000", 4, 3, None),
    ("Open MPI", OPEN_MPI, "10.96.0.1:28235", 4, 3, (1,)),
]


@pytest.mark.parametrize(("said_by", "environment", "coordinator", "number", "own", "devices"), COMPLETE)
def test_a_complete_environment_gives_the_place(said_by, environment, coordinator, number, own, devices):
    assert place(environment) == Place(
        coordinator=coordinator,
        num_processes=number,
        process_id=own,
        local_devices=devices,
        said_by=said_by,
    )


@pytest.mark.parametrize(
    ("environment", "absent"),
    [
        (environment, name)
        for environment in (OURS, SLURM, KUBERNETES, GKE, GKE | SLICES, OPEN_MPI)
        for name in environment
        if environment is not KUBERNETES or name != "JOB_COMPLETION_INDEX"
    ],
)
def test_each_variable_that_is_absent_is_named(environment, absent):
    message = refusal({name: value for name, value in environment.items() if name != absent})
    assert absent in message and message.endswith(".")


def test_kubernetes_settings_outside_an_indexed_job_lack_the_own_number():
    environment = {name: value for name, value in KUBERNETES.items() if name != "JOB_COMPLETION_INDEX"}
    assert "given without SOCSCI_JAX_PROCESS_ID" in refusal(environment)


@pytest.mark.parametrize(
    ("environment", "name", "value"),
    [
        (OURS, "SOCSCI_JAX_COORDINATOR", "host"),
        (OURS, "SOCSCI_JAX_COORDINATOR", "host:99999"),
        (OURS, "SOCSCI_JAX_NUM_PROCESSES", "two"),
        (OURS, "SOCSCI_JAX_NUM_PROCESSES", "0"),
        (OURS, "SOCSCI_JAX_PROCESS_ID", "-1"),
        (OURS, "SOCSCI_JAX_PROCESS_ID", "4"),
        (OURS, "SOCSCI_JAX_LOCAL_DEVICES", "0,,1"),
        (OURS, "SOCSCI_JAX_LOCAL_DEVICES", "1,1"),
        (SLURM, "SLURM_JOB_ID", "job"),
        (SLURM, "SLURM_STEP_ID", ""),
        (SLURM, "SLURM_STEP_NODELIST", "node[01-"),
        (SLURM, "SLURM_STEP_NODELIST", "node[02-01]"),
        (SLURM, "SLURM_STEP_NODELIST", ""),
        (SLURM, "SLURM_STEP_NODELIST", "node[01-03]"),
        (SLURM, "SLURM_STEP_NUM_TASKS", "many"),
        (SLURM, "SLURM_STEP_NUM_TASKS", "3"),
        (SLURM, "SLURM_STEP_TASKS_PER_NODE", "2(x"),
        (SLURM, "SLURM_STEP_TASKS_PER_NODE", "2(x3)"),
        (SLURM, "SLURM_NODEID", "2"),
        (SLURM, "SLURM_PROCID", "4"),
        (SLURM, "SLURM_LOCALID", "2"),
        (KUBERNETES, "JOB_COMPLETION_INDEX", "2"),
        (KUBERNETES, "JOB_COMPLETION_INDEX", ""),
        (KUBERNETES, "SOCSCI_JAX_COORDINATOR", "tiny-0.tiny"),
        (KUBERNETES, "SOCSCI_JAX_NUM_PROCESSES", "2.0"),
        (GKE, "TPU_WORKER_ID", "2"),
        (GKE, "TPU_WORKER_ID", "first"),
        (GKE, "TPU_WORKER_HOSTNAMES", "tiny-0.tiny,"),
        (GKE | SLICES, "MEGASCALE_SLICE_ID", "2"),
        (GKE | SLICES, "MEGASCALE_NUM_SLICES", "both"),
        (GKE | SLICES, "MEGASCALE_COORDINATOR_ADDRESS", ""),
        (OPEN_MPI, "OMPI_COMM_WORLD_SIZE", "1e1"),
        (OPEN_MPI, "OMPI_COMM_WORLD_RANK", "4"),
        (OPEN_MPI, "OMPI_COMM_WORLD_LOCAL_SIZE", "5"),
        (OPEN_MPI, "OMPI_COMM_WORLD_LOCAL_RANK", "2"),
        (OPEN_MPI, "OMPI_MCA_orte_hnp_uri", "unknown"),
    ],
)
def test_each_variable_that_is_malformed_or_contradicts_is_named_with_its_value(environment, name, value):
    message = refusal(environment | {name: value})
    assert name in message and value in message and "\n" not in message


def test_without_settings_this_process_is_alone():
    assert place({}) is None


def test_arguments_come_before_the_environment():
    found = place(OURS, coordinator="other:1", num_processes=2, process_id=0, local_devices=[5])
    assert found == Place(
        coordinator="other:1", num_processes=2, process_id=0, local_devices=(5,), said_by="arguments"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_processes": 2}, "num_processes given without coordinator, process_id"),
        ({"coordinator": "h:1", "num_processes": 2}, "coordinator, num_processes given without process_id"),
        ({"coordinator": "h", "num_processes": 2, "process_id": 0}, "coordinator is 'h'; give host:port"),
        (
            {"coordinator": "h:1", "num_processes": 2, "process_id": 2},
            "process_id is 2 and num_processes is 2",
        ),
        ({"coordinator": "h:1", "num_processes": 0, "process_id": 0}, "num_processes is 0"),
    ],
)
def test_arguments_that_are_incomplete_or_impossible_are_named(arguments, message):
    assert message in refusal({}, **arguments)


@pytest.mark.parametrize("environment", [SLURM, GKE, OPEN_MPI, {"JOB_COMPLETION_INDEX": "1"}])
def test_own_variables_come_before_any_scheduler(environment):
    assert place(environment | OURS).said_by == "SOCSCI_JAX_*"


@pytest.mark.parametrize("environment", [SLURM, GKE, OPEN_MPI, {"JOB_COMPLETION_INDEX": "1"}])
def test_one_process_can_be_asked_for_under_any_scheduler(environment):
    assert place(environment | {"SOCSCI_JAX_NUM_PROCESSES": "1"}) is None


@pytest.mark.parametrize(
    "environment", [SLURM, GKE, OPEN_MPI, OPEN_MPI | {"OMPI_MCA_orte_hnp_uri": "unknown"}]
)
def test_an_own_coordinator_replaces_a_schedulers(environment):
    found = place(environment | {"SOCSCI_JAX_COORDINATOR": "other:1"})
    assert found.coordinator == "other:1" and found.said_by != "SOCSCI_JAX_*"
    assert "SOCSCI_JAX_COORDINATOR is 'other'" in refusal(environment | {"SOCSCI_JAX_COORDINATOR": "other"})


def test_an_own_number_of_processes_does_not_go_with_a_schedulers_numbering():
    assert "SOCSCI_JAX_NUM_PROCESSES given without" in refusal(SLURM | {"SOCSCI_JAX_NUM_PROCESSES": "2"})


def test_own_devices_come_before_the_schedulers():
    assert place(SLURM | {"SOCSCI_JAX_LOCAL_DEVICES": "2,3"}).local_devices == (2, 3)
    assert place(SLURM | {"SOCSCI_JAX_LOCAL_DEVICES": "2,3"}, local_devices=[0]).local_devices == (0,)


# SLURM


@pytest.mark.parametrize(
    ("nodes", "hosts"),
    [
        ("node1", ["node1"]),
        ("node[01-03,7],gpu-a", ["node01", "node02", "node03", "node7", "gpu-a"]),
        ("a,b[9-11]", ["a", "b9", "b10", "b11"]),
        ("rack[1-2]-[08-09]x", ["rack1-08x", "rack1-09x", "rack2-08x", "rack2-09x"]),
        ("127.0.0.[1-2]", ["127.0.0.1", "127.0.0.2"]),
    ],
)
def test_slurms_lists_of_hosts_are_written_out(nodes, hosts):
    assert expand_hosts(nodes) == hosts


def test_neighboring_jobs_and_their_first_steps_have_ports_of_their_own():
    ports = {
        place(SLURM | {"SLURM_JOB_ID": str(job), "SLURM_STEP_ID": str(step)}).coordinator.partition(":")[2]
        for job in range(4_000_000, 4_001_000)
        for step in range(7)
    }
    assert len(ports) == 7000
    assert all(int(port) in PORTS for port in ports)


def test_a_slurm_step_of_one_task_is_one_process():
    assert place({"SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "1"}) is None


def test_a_slurm_job_of_several_tasks_without_srun_is_one_process_and_says_so(caplog):
    assert place({"SLURM_JOB_ID": "1", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"}) is None
    assert "SLURM gave this job 8 tasks, but srun did not start this process: it runs alone." in caplog.text


@pytest.mark.parametrize(
    ("tasks_here", "visible", "per_task", "devices"),
    [
        pytest.param("2", "0,1", None, (1,), id="one task per GPU, each sees all"),
        pytest.param("2", None, None, (1,), id="GPUs that SLURM does not know of"),
        pytest.param("2", "0", "1", None, id="each task sees its own"),
        pytest.param("2", "2,3", "h100:2", None, id="each task sees its own two"),
        pytest.param("2", "", None, None, id="no GPU"),
        pytest.param("1", "0,1,2,3", None, None, id="one task a node has all of its GPUs"),
    ],
)
def test_a_slurm_task_takes_its_own_gpus(tasks_here, visible, per_task, devices):
    environment = SLURM | {"SLURM_GPUS_PER_TASK": per_task, "CUDA_VISIBLE_DEVICES": visible}
    environment |= {} if tasks_here == "2" else {"SLURM_STEP_TASKS_PER_NODE": "3,1", "SLURM_LOCALID": "0"}
    environment = {name: value for name, value in environment.items() if value is not None}
    assert place(environment).local_devices == devices


def test_gpus_that_would_be_shared_or_left_idle_are_an_error():
    message = refusal(SLURM | {"CUDA_VISIBLE_DEVICES": "0,1,2,3"})
    assert "2 processes of this run on this machine each see 4 GPUs" in message


# Open MPI


def test_open_mpi_under_slurm_is_open_mpi():
    assert place(SLURM | OPEN_MPI).said_by == "Open MPI"


def test_open_mpi_on_one_machine_meets_there():
    environment = OPEN_MPI | {"OMPI_COMM_WORLD_LOCAL_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_RANK": "3"}
    assert place(environment).coordinator == "127.0.0.1:28235"
    environment |= {"OMPI_MCA_orte_hnp_uri": "", "PMIX_NAMESPACE": "prterun-gpu013-77@1"}
    assert place(environment).coordinator == "127.0.0.1:20077"


@pytest.mark.parametrize(
    ("variables", "coordinator"),
    [
        (
            {"OMPI_MCA_orte_hnp_uri": "539688960.0;tcp://10.0.0.2:53683;tcp6://[fd00::2]:37695"},
            "10.0.0.2:28235",
        ),
        ({"OMPI_MCA_orte_hnp_uri": "539688960.0;tcp6://[fe80::b9b,fd00::2]:43370"}, "[fe80::b9b]:28235"),
        ({"OMPI_MCA_orte_hnp_uri": "", "PMIX_NAMESPACE": "prterun-gpu-node01-12345@1"}, "gpu-node01:20345"),
    ],
)
def test_open_mpi_names_the_host_of_mpirun(variables, coordinator):
    assert place(OPEN_MPI | variables).coordinator == coordinator


def test_without_a_host_open_mpi_needs_the_coordinator():
    environment = {name: value for name, value in OPEN_MPI.items() if name != "OMPI_MCA_orte_hnp_uri"}
    assert "mpirun -x SOCSCI_JAX_COORDINATOR=host:port" in refusal(environment)


# TPU


def test_one_host_of_gke_is_one_process():
    assert (
        place({"TPU_WORKER_ID": "0", "TPU_WORKER_HOSTNAMES": "localhost", "JOB_COMPLETION_INDEX": "0"})
        is None
    )


@pytest.fixture
def tpu_chips(tmp_path):
    """A PCI bus with a network card of Google's and a v5p chip."""
    for name, device in {"card": "0x0042", "chip": "0x0062"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text("0x1ae0\n")
        (tmp_path / name / "device").write_text(f"{device}\n")
    return tmp_path


@pytest.fixture
def metadata():
    """Attributes that a metadata server on this machine tells; with its address, and the paths it was asked for."""
    attributes, asked = {}, []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers["Metadata-Flavor"]))
            key = self.path.removeprefix("/computeMetadata/v1/instance/attributes/")
            self.send_response(200 if key in attributes else 404)
            self.end_headers()
            self.wfile.write(attributes.get(key, "").encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield attributes, {"GCE_METADATA_IP": f"127.0.0.1:{server.server_port}"}, asked
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("endpoints", ["a:1:10.0.0.1,b:2:10.0.0.2", "10.0.0.1,10.0.0.2"])
def test_a_tpu_vm_asks_its_metadata_server(tpu_chips, metadata, endpoints):
    attributes, address, asked = metadata
    attributes |= {"agent-worker-number": "1", "worker-network-endpoints": endpoints}
    found = place(address, pci_devices=tpu_chips)
    assert found == Place(
        coordinator="10.0.0.1:20000", num_processes=2, process_id=1, local_devices=None, said_by="TPU"
    )
    assert asked[0] == ("/computeMetadata/v1/instance/attributes/agent-worker-number", "Google")


def test_several_slices_of_tpu_vms_are_one_run(tpu_chips, metadata):
    attributes, address, _ = metadata
    attributes |= {"agent-worker-number": "1", "worker-network-endpoints": "10.1.0.1,10.1.0.2"}
    attributes["tpu-env"] = (
        "ZONE: 'z'\nMEGASCALE_NUM_SLICES: '2'\nMEGASCALE_SLICE_ID: '1'\n"
        "MEGASCALE_COORDINATOR_ADDRESS: '10.0.0.1:8080'\n"
    )
    found = place(address, pci_devices=tpu_chips)
    assert (found.coordinator, found.num_processes, found.process_id) == ("10.0.0.1:20000", 4, 3)


@pytest.mark.parametrize(
    ("attributes_there", "named"),
    [
        ({"agent-worker-number": "one"}, "TPU_WORKER_ID is 'one'"),
        ({"agent-worker-number": "2"}, "TPU_WORKER_ID is 2"),
        ({"worker-network-endpoints": ""}, "TPU_WORKER_HOSTNAMES ''"),
        ({"tpu-env": "MEGASCALE_NUM_SLICES: '2'"}, "MEGASCALE_SLICE_ID is not set"),
    ],
)
def test_metadata_that_contradict_are_named(tpu_chips, metadata, attributes_there, named):
    attributes, address, _ = metadata
    attributes |= {"agent-worker-number": "1", "worker-network-endpoints": "10.0.0.1,10.0.0.2"}
    attributes |= attributes_there
    assert named in refusal(address, pci_devices=tpu_chips)


def test_a_machine_with_chips_that_is_no_cloud_tpu_is_one_process(tpu_chips, metadata):
    _, address, asked = metadata
    assert place(address, pci_devices=tpu_chips) is None
    assert len(asked) == 1


def test_a_machine_without_tpu_chips_never_asks(tpu_chips, metadata, tmp_path):
    attributes, address, asked = metadata
    attributes["agent-worker-number"] = "1"
    (tpu_chips / "chip" / "vendor").write_text("0x10de\n")
    assert place(address, pci_devices=tpu_chips) is None
    assert asked == []


def test_a_metadata_server_that_does_not_answer_is_an_error_in_time(tpu_chips, monkeypatch):
    monkeypatch.setattr("socsci_jax.distributed.tpu.METADATA_SECONDS", 0.1)
    message = refusal({"GCE_METADATA_IP": "127.0.0.1:9"}, pci_devices=tpu_chips)
    assert "its metadata server 127.0.0.1:9 does not tell agent-worker-number" in message


# Kubernetes


def test_an_index_alone_does_not_make_a_run_of_one():
    message = refusal({"JOB_COMPLETION_INDEX": "1"})
    assert "JOB_COMPLETION_INDEX is 1" in message and "SOCSCI_JAX_NUM_PROCESSES=1" in message
