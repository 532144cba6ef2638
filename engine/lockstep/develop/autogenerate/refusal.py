"""Refusal: a change of the models that no revision can make safely, and what to write instead."""

from alembic.util import CommandError

HAND = "Write it by hand (`migrator revision --empty`): "


class Refusal(CommandError):
    """A change of the models that is not written as it stands."""

    def __init__(self, message: str, cure: str) -> None:
        super().__init__(f"{message}\n{cure}")
        self.message = message
        self.cure = cure

    @classmethod
    def of(cls, refusals: "list[Refusal]") -> "Refusal":
        """One refusal that says all of them, so that a person fixes them in one go."""
        if len(refusals) == 1:
            return refusals[0]
        return cls(
            f"{len(refusals)} changes of the models cannot be written as they stand.",
            "\n".join(f"\n{number}. {refusal}" for number, refusal in enumerate(refusals, 1)),
        )
