"""Makes event_file_golden.txt, with TensorBoard's own message classes and record writer; and shows
what TensorBoard's own reader sees.

    python event_file_golden.py > event_file_golden.txt
        the bytes of a file, in hexadecimal, a record a line
    python event_file_golden.py read FOLDER
        tag, step and value of every scalar of a folder

Needs the package tensorboard (2.21.0 was used), not TensorFlow.
"""
import io
import math
import sys

from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter


def events():
    """What event_file_bytes.c adds."""
    time = 1700000000.25
    yield event_pb2.Event(wall_time=time, file_version="brain.Event:2")
    start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    yield event_pb2.Event(wall_time=time, step=301, session_log=start)
    steps = {
        301: [("loss/total", 2.5), ("train/lr", 1e-4)],
        302: [("loss/total", math.nan), ("größte Last", -0.0), ("x" * 200, 1e300)],
        1 << 40: [("memory/peak_bytes", 123456789012.0)],
    }
    for i, (step, scalars) in enumerate(steps.items()):
        values = [summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in scalars]
        summary = summary_pb2.Summary(value=values)
        yield event_pb2.Event(wall_time=time + 1 + i, step=step, summary=summary)


def write():
    for event in events():
        out = io.BytesIO()
        out.flush = lambda: None
        RecordWriter(out).write(event.SerializeToString())
        print(out.getvalue().hex())


def read(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    seen = EventAccumulator(folder, size_guidance={"tensors": 0, "scalars": 0})
    seen.Reload()
    for tag in sorted(seen.Tags()["scalars"]):
        for scalar in seen.Scalars(tag):
            print(tag, scalar.step, scalar.value)


read(sys.argv[2]) if sys.argv[1:2] == ["read"] else write()
