"""What a batch asks of those who do its jobs: `Pool`."""

from typing import Any, Protocol, TypeVar

from lfdn_video.batch.messages import Job

Tag = TypeVar("Tag")


class Pool(Protocol[Tag]):
    """Does jobs, several at a time. A context manager: leaving it ends what is not done."""

    @property
    def busy(self) -> int:
        """Number of jobs that have been given and have not ended."""

    @property
    def free(self) -> int:
        """Number of jobs that can be given now."""

    def give(self, job: Job, tag: Tag) -> None:
        """Give a job; `free` must be above 0.

        Args:
            job: the job.
            tag: what its messages are to be marked with.
        """

    def wait(self, timeout_s: float) -> tuple[Tag, Any] | None:
        """Wait for the next message about a job.

        Args:
            timeout_s: seconds to wait at most.

        Returns:
            The job's tag and a `Progressed`, `Warned`, `Divided`, `Finished` or `Failed`; None:
            there was none in time. After the last three the job has ended.

        Raises:
            LfdnVideoError: the network cannot be loaded, so no job can be done.
        """

    def __enter__(self) -> "Pool[Tag]": ...

    def __exit__(self, *_: object) -> None: ...
