import json
from pathlib import Path

from distill_core.distillation.training_log import LOG_FILE, TrainingLog, read_log


def test_a_line_is_whole_when_a_line_feed_ends_it(tmp_path: Path) -> None:
    line = {"step": 1, "psnr of du\x85ck\u2028\u2029": 20.5}
    # JSON allows these characters as they are; the last line is one that a kill left unfinished.
    content = json.dumps(line, ensure_ascii=False) + '\n{"step": 2, "lo'
    (tmp_path / LOG_FILE).write_text(content, encoding="utf-8")
    assert read_log(tmp_path / LOG_FILE) == [line]
    with TrainingLog(tmp_path, 2) as log:
        log.write(2, {"loss": 0.5})
    assert read_log(tmp_path / LOG_FILE) == [line, {"step": 2, "loss": 0.5}]
