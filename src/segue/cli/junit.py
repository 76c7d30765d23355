"""Results of flow tests as JUnit XML, the form that CI systems read.

No standard fixes it; this keeps to the elements and attributes that the schema of Jenkins' xUnit plugin
(`junit-10.xsd`) knows. A flow that cannot be used is a suite with one case, an error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import msgspec

if TYPE_CHECKING:
    from segue.engine.flow_test_run import FlowTestResults, TestResult
    from segue.engine.matching import Difference

# XML 1.0, section 2.2: what a document may not hold, escaped or not.
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(suites: Sequence[tuple[str, FlowTestResults | None, str | None]]) -> bytes:
    """The document for (file, results, why there are none) of each flow."""
    root = ET.Element("testsuites", name="segue test")
    for file, results, error in suites:
        tests = [] if results is None else results.tests
        suite = ET.SubElement(
            root, "testsuite", name=_clean(file if results is None else results.flow), file=_clean(file)
        )
        failures, errors, skipped = 0, 0, 0
        for result in tests:
            failures += not result.passed and result.error is None and result.skipped is None
            errors += result.error is not None
            skipped += result.skipped is not None
            _case(suite, result, file)
        if error is not None:
            errors += 1
            case = ET.SubElement(suite, "testcase", name="the flow and its tests can be read", classname=_clean(file))
            ET.SubElement(case, "error", message=_clean(error)).text = _clean(error)
        count = len(tests) + (error is not None)
        for key, value in (("tests", count), ("failures", failures), ("errors", errors), ("skipped", skipped)):
            suite.set(key, str(value))
    ET.indent(root)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True)


def _case(suite: ET.Element, result: TestResult, file: str) -> None:
    case = ET.SubElement(suite, "testcase", name=_clean(result.name), classname=_clean(file), time="0")
    if result.file is not None:
        case.set("file", _clean(result.file))
    if result.line is not None:
        case.set("line", str(result.line))
    if result.error is not None:
        ET.SubElement(case, "error", message=_clean(result.error)).text = _clean(result.error)
    elif result.skipped is not None:
        ET.SubElement(case, "skipped", message=_clean(result.skipped))
    elif not result.passed:
        lines = [_told(one) for one in result.differences]
        ET.SubElement(case, "failure", message=_clean(lines[0])).text = _clean("\n".join(lines))


def _told(one: Difference) -> str:
    expected, actual = (msgspec.json.encode(value).decode() for value in (one.expected, one.actual))
    return f"{one.what}: expected {expected}, actual {actual}" + (f" ({one.why})" if one.why else "")


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
