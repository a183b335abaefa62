"""Makes constraints from the forms of tasks' answers."""

from collections.abc import Sequence

from kebyt5.generation.constraints.choices import Choices
from kebyt5.generation.constraints.constraint import Constraint
from kebyt5.generation.constraints.copy_with_tags import CopyWithTags
from kebyt5.generation.constraints.utf8 import UTF8
from kebyt5.tasks import Example, Task
from kebyt5.tasks.forms import Form, Marked, Parts


def constraint_of(form: Form | None) -> Constraint:
    """The constraint that allows exactly the answers of a form; any text if it is None."""
    match form:
        case Marked(text, tags, endings):
            return CopyWithTags(text, tags, endings)
        case Parts(parts, guess):
            return Choices(parts, guess)
    return UTF8()


def task_constraints(task: Task, examples: Sequence[Example]) -> list[Constraint]:
    """Makes the constraint of each example's answer; examples with equal forms share one.

    Args:
        task: The task of the examples.
        examples: The examples as the model reads them.
    """
    forms = [task.form(example) for example in examples]
    made = {form: constraint_of(form) for form in dict.fromkeys(forms)}
    return [made[form] for form in forms]
