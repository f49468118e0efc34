from typing import Annotated, Literal

import pydantic
import pytest

from distill_core.errors import UserError
from distill_core.validation import user_error, validation_sentence


class Fit(pydantic.BaseModel):
    iterations: int = pydantic.Field(default=3, ge=1)


class Settings(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    device: Literal["auto", "cpu"] = "auto"
    azimuths_degrees: tuple[float, ...] = ()
    steps: tuple[int, ...] = pydantic.Field(default=(1,), min_length=1, max_length=2)
    elevation_degrees: Annotated[float, pydantic.Field(ge=-89, le=89)] | Literal["auto"] = "auto"
    fit: Fit = Fit()

    @pydantic.model_validator(mode="after")
    def _check(self) -> "Settings":
        if self.device == "cpu" and self.fit.iterations > 10:
            raise ValueError("Expected at most 10 iterations on a CPU, got more; choose fewer.")
        return self


def complaint(**values: object) -> pydantic.ValidationError:
    with pytest.raises(pydantic.ValidationError) as caught:
        Settings.model_validate(values)
    return caught.value


def test_says_field_expectation_and_value() -> None:
    assert validation_sentence(complaint(device="tpu")) == "device: expected 'auto' or 'cpu', got 'tpu'."
    assert validation_sentence(complaint(fit={"iterations": 0})) == (
        "fit.iterations: expected greater than or equal to 1, got 0."
    )


def test_a_choice_of_kinds_is_one_sentence_without_names_of_types() -> None:
    assert validation_sentence(complaint(elevation_degrees=120)) == (
        "elevation_degrees: expected less than or equal to 89 or 'auto', got 120."
    )


def test_too_few_and_too_many_values_are_said() -> None:
    assert validation_sentence(complaint(steps=())) == "steps: expected 1 or more, got ()."
    assert validation_sentence(complaint(steps=(1, 2, 3))) == "steps: expected 2 or fewer, got (1, 2, 3)."


def test_names_every_wrong_field_in_one_line() -> None:
    sentence = validation_sentence(complaint(device="tpu", azimuths_degrees=["left"], colour=1))
    assert "device" in sentence
    assert "azimuths_degrees.0" in sentence
    assert "colour" in sentence
    assert "\n" not in sentence


def test_the_projects_own_sentences_stay_as_they_are() -> None:
    sentence = validation_sentence(complaint(device="cpu", fit={"iterations": 11}))
    assert sentence == "Expected at most 10 iterations on a CPU, got more; choose fewer."


def test_long_values_are_cut() -> None:
    assert len(validation_sentence(complaint(device="x" * 10_000))) < 200


def test_becomes_the_projects_error() -> None:
    error = user_error(complaint(device="tpu"))
    assert isinstance(error, UserError)
    assert "'tpu'" in str(error)
