"""The hooks that others implement."""


def test_a_hook_adds_a_metric_to_each_response(project) -> None:
    project.pytester.makeconftest(
        "def pytest_jarvis_response_metrics(case, response):\n    return {'caracteres': float(len(response.text))}\n"
    )
    project.run("--jarvis-report-dir", "out").assert_outcomes(passed=3)
    samples = [sample for row in project.report().results for sample in row.samples]
    assert [float(len(sample.text)) for sample in samples] == [sample.score("caracteres") for sample in samples]


def test_each_result_is_told_as_it_is_recorded(project) -> None:
    project.pytester.makeconftest(
        "seen = []\n"
        "def pytest_jarvis_result(config, row):\n    seen.append(row.prompt_id)\n"
        "def pytest_terminal_summary(terminalreporter):\n    terminalreporter.write_line('seen ' + ' '.join(seen))\n"
    )
    project.run().stdout.fnmatch_lines(["seen c-1 c-2 q-1"])


def test_the_last_word_on_the_report_is_what_is_written(project) -> None:
    project.pytester.makeconftest(
        "import msgspec\n"
        "def pytest_jarvis_report(report):\n    return msgspec.structs.replace(report, complete=False)\n"
    )
    project.run("--jarvis-report-dir", "out")
    assert not project.report().complete


def test_a_last_word_that_raises_costs_neither_the_report_nor_the_summary(project) -> None:
    project.pytester.makeconftest("def pytest_jarvis_report(report):\n    raise OSError('plus de papier')\n")
    result = project.run("--jarvis-report-dir", "out")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*pytest_jarvis_report a échoué*plus de papier*"])
    assert project.report().gate.verdict == "PASS"


def test_what_a_hook_returns_in_place_of_a_report_must_be_one(project) -> None:
    wrong = "import msgspec\ndef pytest_jarvis_report(report): return msgspec.structs.replace(report, complete='oui')"
    project.pytester.makeconftest(wrong)
    result = project.run("--jarvis-report-dir", "out")
    result.stdout.fnmatch_lines(["*pytest_jarvis_report a échoué*bool*"])
    assert project.report().complete is True


def test_an_a_a_run_shows_the_noise_of_a_metric_of_others_too(project) -> None:
    project.pytester.makeconftest("def pytest_jarvis_response_metrics(case, response):\n    return {'x': 1.0}\n")
    result = project.run("--jarvis-report-dir", "out", "--jarvis-aa")
    assert result.ret == 0
    assert set(project.report().noise_floor) >= {"jarvis_relevance", "keyword_share", "characters", "x"}
    result.stdout.fnmatch_lines(["A/A*", "*pertinence*plancher*", "*x *plancher*", "*cosinus *entre deux tirages*"])
