"""Custom metrics: declared with a decorator or given by a hook; and how a set of metrics is measured."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite
from numbers import Real
from pathlib import Path
from types import ModuleType
from typing import Final, TypeVar, overload

from pytest_jarvis.files import InputError, suggest
from pytest_jarvis.inputs.config import MetricBar, MetricsSection
from pytest_jarvis.metrics.registry import BUILT_IN, RESERVED, Metric, MetricSpec, Per, Reading
from pytest_jarvis.types import Note, PromptCase, Response

MetricFunction = Callable[..., float | None]
Function = TypeVar("Function", bound=Callable[..., object])
HookMetrics = Callable[[PromptCase, Response], Sequence[object]]
"""Calls every implementation of the hook for a response; results in order of registration."""

_MARK: Final = "_jarvis_metric"
_NAME: Final = re.compile(r"[^\W\d][\w.-]*")
_LONGEST_LABEL: Final = 40
_ARGUMENTS: Final[Mapping[Per, tuple[str, ...]]] = {
    "response": ("case", "response"),
    "pair": ("case", "base", "finetuned"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Declaration:
    """Arguments of the decorator, unchecked until a session collects them."""

    name: object
    label: object
    higher_is_better: object
    per: object


class MetricFaultError(Exception):
    """A metric gave no number; the message names the metric, prompt, arm and response."""

    def __init__(self, note: Note, response: Response) -> None:
        """`note` says why, `response` is the one that could not be measured."""
        super().__init__(str(note))
        self.note = note
        self.response = response


@overload
def jarvis_metric(function: Function, /) -> Function: ...
@overload
def jarvis_metric(
    *, name: str | None = None, label: str | None = None, higher_is_better: bool = True, per: Per = "response"
) -> Callable[[Function], Function]: ...
def jarvis_metric(
    function: Function | None = None,
    /,
    *,
    name: object = None,
    label: object = None,
    higher_is_better: object = True,
    per: object = "response",
) -> Function | Callable[[Function], Function]:
    """Declare a function of a conftest.py, a plugin or a test file a metric of the benchmark, and return it unchanged.

    `name`: its key in reports and in `benchmark.metric_bars`, by default the function's name. `label`: shown to
    readers. `per="response"`: the function takes `(case, response)`; `per="pair"`: `(case, base, finetuned)`, the
    responses of both arms to one prompt with the same noise. It returns a number, or None for "not measured".
    """

    def mark(marked: Function) -> Function:
        given = name if name is not None else getattr(marked, "__name__", None)
        declaration = _Declaration(
            name=given, label=given if label is None else label, higher_is_better=higher_is_better, per=per
        )
        setattr(marked, _MARK, declaration)
        return marked

    return mark if function is None else mark(function)


def collect_metrics(modules: Iterable[object]) -> tuple[Metric, ...]:
    """Return the metrics declared in modules, in order; each function once, wherever it is imported.

    Raises InputError for an invalid declaration, a name used twice, or the name of a built-in metric.
    """
    found: dict[int, tuple[MetricFunction, _Declaration]] = {}
    for module in modules:
        if isinstance(module, ModuleType):
            for value in list(vars(module).values()):
                declaration = getattr(value, "__dict__", {}).get(_MARK)
                if isinstance(declaration, _Declaration):
                    found.setdefault(id(value), (value, declaration))
    metrics: dict[str, Metric] = {}
    places: dict[str, str] = {}
    for function, declaration in found.values():
        spec = _check_declaration(function, declaration)
        if spec.name in metrics:
            first = places[spec.name]
            raise InputError(f"{_location(function)}: metric '{spec.name}': {first} declares one of this name too")
        places[spec.name] = _location(function)
        metrics[spec.name] = Metric(
            spec=spec, measure=function if spec.per == "pair" else partial(_call_custom, function)
        )
    return tuple(metrics.values())


def built_in_metrics(section: MetricsSection) -> MetricSet:
    """Return the built-in metrics that a configuration turns on."""
    return MetricSet([metric for metric in BUILT_IN.values() if metric.is_on(section)])


def _call_custom(function: MetricFunction, case: PromptCase, response: Response, reading: Reading) -> float | None:
    del reading
    return function(case, response)


class MetricSet:
    """Metrics that are measured together."""

    def __init__(self, metrics: Sequence[Metric] = (), hook: HookMetrics | None = None) -> None:
        """Take the metrics, and the hook that may give more of each response."""
        self._measures: dict[Per, list[tuple[str, MetricFunction]]] = {"response": [], "pair": []}
        for metric in metrics:
            if metric.measure is not None:
                self._measures[metric.spec.per].append((metric.spec.name, metric.measure))
        self._hook = hook
        self.specs = tuple(metric.spec for metric in metrics)

    def of_response(self, case: PromptCase, response: Response, reading: Reading) -> dict[str, float]:
        """Return the metrics of a response by name; MetricFaultError when one raises or gives no finite number."""
        found = self._measure_hook(case, response) if self._hook is not None else {}
        return found | self._measure_all("response", response, case, response, reading)

    def of_pair(self, case: PromptCase, base: Response, finetuned: Response) -> dict[str, float]:
        """Return the metrics of a pair by name; MetricFaultError when one raises or gives no finite number."""
        return self._measure_all("pair", finetuned, case, base, finetuned)

    def _measure_all(self, per: Per, response: Response, *arguments: object) -> dict[str, float]:
        """Return the value of each metric; one that does not apply is left out."""
        found: dict[str, float] = {}
        for name, function in self._measures[per]:
            where = Note("metric_fault", {"metric": name})
            try:
                value = function(*arguments)
            except Exception as error:
                raise _error_fault(where, response, error) from error
            number = _number(where, response, value)
            if number is not None:
                found[name] = number
        return found

    def _measure_hook(self, case: PromptCase, response: Response) -> dict[str, float]:
        """Return the values of the hook; the implementation registered last wins."""
        assert self._hook is not None  # noqa: S101  # checked by the caller
        where = Note("hook_fault", {"hook": "pytest_jarvis_response_metrics"})
        try:
            results = self._hook(case, response)
        except Exception as error:
            raise _error_fault(where, response, error) from error
        found: dict[str, float] = {}
        taken = {*RESERVED, *(spec.name for spec in self.specs)}
        for metrics in results:
            if not isinstance(metrics, Mapping):
                raise _fault(where, response, Note("not_numbers_by_name", {"found": repr(metrics)}))
            for name, value in metrics.items():
                if not isinstance(name, str) or not _NAME.fullmatch(name):
                    raise _fault(where, response, Note("not_a_name", {"found": repr(name)}))
                if name in taken:
                    raise _fault(where, response, Note("name_taken", {"name": name}))
                named = Note("hook_fault", {"hook": f"{where.values['hook']}: '{name}'"})
                number = _number(named, response, value)
                if number is not None:
                    found[name] = number
        return found


NO_METRICS: Final = MetricSet()
"""For a test that did not run, or whose metrics failed."""


def _check_declaration(function: MetricFunction, declaration: _Declaration) -> MetricSpec:
    """Return the declaration as a spec; raise InputError with its location when it is invalid."""
    where = f"{_location(function)}: @jarvis_metric"
    name, label, better, per = declaration.name, declaration.label, declaration.higher_is_better, declaration.per
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(f"{where}: name: expected letters, digits, '_', '-' and '.', a letter first, found {name!r}")
    if name in RESERVED:
        raise InputError(f"{where}: name: '{name}' is a metric of the benchmark itself; give yours another name")
    if not isinstance(label, str) or not label.strip() or not label.isprintable() or len(label) > _LONGEST_LABEL:
        raise InputError(f"{where}: label: expected a line of 1 to {_LONGEST_LABEL} characters, found {label!r}")
    if not isinstance(better, bool):
        raise InputError(f"{where}: higher_is_better: expected True or False, found {better!r}")
    if per not in ("response", "pair"):
        raise InputError(f"{where}: per: expected 'response' or 'pair', found {per!r}")
    try:
        inspect.signature(function).bind(*_ARGUMENTS[per])
    except (TypeError, ValueError):
        wanted = ", ".join(_ARGUMENTS[per])
        raise InputError(f"{where}: a metric per {per} is a function of ({wanted}), '{name}' is not") from None
    return MetricSpec(name=name, label=label.strip(), higher_is_better=better, per=per)


def _number(where: Note, response: Response, value: object) -> float | None:
    """Return a finite number as a float, and None as it is; else raise MetricFaultError (for `bool`, too)."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Real) or not isfinite(value):
        raise _fault(where, response, Note("not_a_number", {"found": repr(value)}))
    return float(value)


def _fault(where: Note, response: Response, what: Note) -> MetricFaultError:
    """Return the error of a metric's value for a response; of a pair, for the adapter's."""
    prompt, number = response.prompt_id, response.replicate + 1
    values = {**where.values, "prompt": prompt, "arm": response.arm, "number": number}
    return MetricFaultError(Note(where.code, values, what), response)


def _error_fault(where: Note, response: Response, error: Exception) -> MetricFaultError:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    line = f" ({_relative(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno})" if trace is not None else ""
    said = " ".join(str(error).split())
    return _fault(
        where, response, Note("raised", {"error": f"{type(error).__name__}{f': {said}' if said else ''}{line}"})
    )


def _location(function: MetricFunction) -> str:
    code = getattr(function, "__code__", None)
    return repr(function) if code is None else f"{_relative(code.co_filename)}:{code.co_firstlineno}"


def _relative(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def check_metric_bars(bars: Mapping[str, MetricBar], known: Sequence[MetricSpec], *, open_names: bool) -> None:
    """Raise InputError for a threshold that is empty, is on the gain of a metric of pairs, or names no metric.

    `open_names`: the hook is implemented, so that only responses tell which metrics there are.
    """
    specs = {spec.name: spec for spec in (*(metric.spec for metric in BUILT_IN.values()), *known)}
    for name, bar in bars.items():
        where = f"configuration: benchmark: metric_bars: '{name}'"
        if bar.min_gain is None and bar.min_mean is None and bar.max_mean is None:
            raise InputError(f"{where} is empty; give it min_gain, min_mean or max_mean")
        if name not in specs and not open_names:
            none = "" if known else "; none is declared with @jarvis_metric"
            raise InputError(f"{where}: no metric of this name{suggest(name, list(specs))}{none}")
        if bar.min_gain is not None and name in specs and specs[name].per == "pair":
            raise InputError(f"{where}: min_gain: a metric of pairs has no gain; give it min_mean or max_mean")
