from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExecuteRequest(_message.Message):
    __slots__ = ("run_id", "dag", "env_json", "inputs_json", "idempotency_key")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    DAG_FIELD_NUMBER: _ClassVar[int]
    ENV_JSON_FIELD_NUMBER: _ClassVar[int]
    INPUTS_JSON_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    dag: Dag
    env_json: str
    inputs_json: str
    idempotency_key: str
    def __init__(self, run_id: _Optional[str] = ..., dag: _Optional[_Union[Dag, _Mapping]] = ..., env_json: _Optional[str] = ..., inputs_json: _Optional[str] = ..., idempotency_key: _Optional[str] = ...) -> None: ...

class Dag(_message.Message):
    __slots__ = ("nodes", "more_json")
    NODES_FIELD_NUMBER: _ClassVar[int]
    MORE_JSON_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[Node]
    more_json: str
    def __init__(self, nodes: _Optional[_Iterable[_Union[Node, _Mapping]]] = ..., more_json: _Optional[str] = ...) -> None: ...

class Node(_message.Message):
    __slots__ = ("id", "type", "config_json", "deps", "more_json")
    ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    DEPS_FIELD_NUMBER: _ClassVar[int]
    MORE_JSON_FIELD_NUMBER: _ClassVar[int]
    id: str
    type: str
    config_json: str
    deps: _containers.RepeatedScalarFieldContainer[str]
    more_json: str
    def __init__(self, id: _Optional[str] = ..., type: _Optional[str] = ..., config_json: _Optional[str] = ..., deps: _Optional[_Iterable[str]] = ..., more_json: _Optional[str] = ...) -> None: ...

class ExecuteResponse(_message.Message):
    __slots__ = ("engine_run_id",)
    ENGINE_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    engine_run_id: str
    def __init__(self, engine_run_id: _Optional[str] = ...) -> None: ...

class GetRunRequest(_message.Message):
    __slots__ = ("engine_run_id",)
    ENGINE_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    engine_run_id: str
    def __init__(self, engine_run_id: _Optional[str] = ...) -> None: ...

class Run(_message.Message):
    __slots__ = ("id", "status", "steps", "logs")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    LOGS_FIELD_NUMBER: _ClassVar[int]
    id: str
    status: str
    steps: _containers.RepeatedCompositeFieldContainer[Step]
    logs: _containers.RepeatedCompositeFieldContainer[LogLine]
    def __init__(self, id: _Optional[str] = ..., status: _Optional[str] = ..., steps: _Optional[_Iterable[_Union[Step, _Mapping]]] = ..., logs: _Optional[_Iterable[_Union[LogLine, _Mapping]]] = ...) -> None: ...

class Step(_message.Message):
    __slots__ = ("id", "status", "duration_ms")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    id: str
    status: str
    duration_ms: int
    def __init__(self, id: _Optional[str] = ..., status: _Optional[str] = ..., duration_ms: _Optional[int] = ...) -> None: ...

class LogLine(_message.Message):
    __slots__ = ("ts", "level", "msg")
    TS_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    MSG_FIELD_NUMBER: _ClassVar[int]
    ts: str
    level: str
    msg: str
    def __init__(self, ts: _Optional[str] = ..., level: _Optional[str] = ..., msg: _Optional[str] = ...) -> None: ...

class WatchRunRequest(_message.Message):
    __slots__ = ("engine_run_id", "after", "level")
    ENGINE_RUN_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    engine_run_id: str
    after: str
    level: str
    def __init__(self, engine_run_id: _Optional[str] = ..., after: _Optional[str] = ..., level: _Optional[str] = ...) -> None: ...

class RunEvent(_message.Message):
    __slots__ = ("id", "log", "run", "end", "resume")
    ID_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    id: str
    log: LogLine
    run: Run
    end: str
    resume: str
    def __init__(self, id: _Optional[str] = ..., log: _Optional[_Union[LogLine, _Mapping]] = ..., run: _Optional[_Union[Run, _Mapping]] = ..., end: _Optional[str] = ..., resume: _Optional[str] = ...) -> None: ...
