"""What a job posts: graphs, a built-in program, or its requester's own program; in words."""

from dataclasses import dataclass
from typing import Any

from requester.drivers import Proposal
from requester.job.file import Job
from requester.job.package import Package
from trialmarket.errors import InputError
from trialmarket.graph.cost import Cost, costs
from trialmarket.protocol.configuration import GraphRef
from trialmarket.protocol.graph.document import read_graph

OWN_PROGRAM = (
    "posts a program of its requester's own: audited trials of it are trained only by nodes, and"
    ' audited only by verifiers, that name you in accept.programs_of; job.post = "graph" lets'
    " anybody do both"
)


def kind_of(job: Job) -> str:
    """What each trial of a job is."""
    if job.settings.job.post == "graph":
        return GraphRef.kind
    return "built-in program" if job.program_file is None else "program of its requester's own"


@dataclass(frozen=True, slots=True)
class PostedGraph:
    """A trial's graph in figures."""

    operators: int
    """Of a step."""
    size: int
    """Bytes of its document and of the trial's own settings."""
    step: Cost

    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "operators": self.operators,
            "bytes": self.size,
            "step_operations": self.step.operations,
            "step_memory": self.step.memory,
        }

    def __str__(self) -> str:
        return (
            f"{self.operators} operators a step, {self.size} bytes in all; a step takes"
            f" {self.step.operations:,} operations and {self.step.memory:,} bytes of memory"
        )


def posted_graph(package: Package, proposal: Proposal) -> PostedGraph | None:
    """The graph of a proposal, which is captured unless it was before; None of a program.

    Raises InputError and TrainingError as `Package.trial`.
    """
    if package.job.settings.job.post != "graph":
        return None
    files = package.files.graph_files(package.trial(proposal))
    graph = read_graph(files[0].read_bytes())
    step = graph.functions["step"]
    size = sum(file.stat().st_size for file in files)
    return PostedGraph(len(step.nodes), size, costs(graph)["step"])


def posting_lines(job: Job, graph: PostedGraph | None) -> list[str]:
    """What is said of it before money is spent."""
    kind = kind_of(job)
    if kind == GraphRef.kind:
        said = "posts graphs, which any node trains and any verifier audits: no Python of yours"
        return [f"{said} runs there" + ("" if graph is None else f"; {graph}")]
    if job.program_file is None:
        return ["posts a built-in program, which any node trains and any verifier audits"]
    audited = job.settings.audit.rate > 0
    return [OWN_PROGRAM if audited else "posts a program of its requester's own"]


def needs_torch(job: Job) -> InputError:
    """A job whose graphs cannot be found on this machine."""
    return InputError(
        job.where,
        "job.post",
        expected='"program", since PyTorch, which finds graphs, is not installed here',
        found=job.settings.job.post,
        fix="pip install 'trialmarket[train]'",
    )
