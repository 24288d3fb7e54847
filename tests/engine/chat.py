"""vLLM's bytes for `/v1/chat/completions`: a completion with messages, roles and calls of functions."""

from typing import Any

from tests.engine.core import Run
from tests.engine.wire import LOGPROB, Completion


class Chat(Completion):
    """`/v1/chat/completions`."""

    kind, chunk_kind = "chat.completion", "chat.completion.chunk"

    def _cache(self, run: Run) -> dict[str, Any]:
        return {"cached_tokens": run.cached, "created_cache_tokens": run.created}

    def _prompt(self) -> dict[str, Any]:
        return dict.fromkeys(("prompt_logprobs", "prompt_token_ids", "prompt_text"))

    def _choice(self, run: Run, index: int, finish: str) -> dict[str, Any]:
        end = {"finish_reason": self._finish(finish), "stop_reason": None, "token_ids": None, "routed_experts": None}
        message = self._message(run.text(index))
        logprobs = self._logprobs(run.pieces[index][: run.made[index]], 0)
        return {"index": index, "message": message, "logprobs": logprobs, **end}

    def _finish(self, finish: str | None) -> str | None:
        """vLLM says `tool_calls` only where the model chose the function."""
        chose = self.job.tool is not None and not isinstance(self.job.body["tool_choice"], dict)
        return "tool_calls" if chose and finish == "stop" else finish

    def _message(self, text: str) -> dict[str, Any]:
        absent = dict.fromkeys(("refusal", "annotations", "audio", "function_call"))
        if self.job.tool is None:
            return {"role": "assistant", "content": text, **absent, "reasoning": None}
        call = {"id": self.stamp.derived("chatcmpl-tool-"), "type": "function"}
        called = {**call, "function": {"name": self.job.tool, "arguments": text}}
        return {"role": "assistant", "content": "", **absent, "tool_calls": [called], "reasoning": None}

    def _logprobs(self, tokens: list[str], offset: int) -> dict[str, Any] | None:
        if not self.job.body.get("logprobs"):
            return None
        content = []
        for token in tokens:
            one = {"token": token, "logprob": LOGPROB, "bytes": list(token.encode())}
            content.append({**one, "top_logprobs": [one] if self.job.body.get("top_logprobs") else []})
        return {"content": content}

    def running_usage(self, index: int, tokens: int) -> dict[str, Any]:
        """As for a completion, with one more field."""
        counted = super().running_usage(index, tokens)
        return {"usage": {**counted["usage"], "completion_tokens_details": None}} if counted else {}

    def started(self) -> list[bytes]:
        """The role of each choice, and the name of the function that is called."""
        chunks = []
        prompt = {"prompt_token_ids": None, "prompt_text": None}
        for index in range(self.job.n):
            role = {"role": "assistant", "content": ""}
            choice = {"index": index, "delta": role, "logprobs": None, "finish_reason": None}
            chunks.append(self._chunk([choice], **self.running_usage(index, 0), **prompt))
        if self.job.tool is not None:
            call = {"id": self.stamp.derived("chatcmpl-tool-"), "type": "function", "index": 0}
            chunks.append(self._call({**call, "function": {"name": self.job.tool}}, 0))
        return chunks

    def _call(self, call: dict[str, Any], tokens: int) -> bytes:
        delta = {"content": None, "tool_calls": [call]}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None, "token_ids": None}
        return self.chunk(choice, tokens)

    def token(self, index: int, text: str, tokens: int, finish: str | None) -> list[bytes]:
        """One token of one choice, or of the arguments of its function; the last one says why the choice ended."""
        if self.job.tool is None:
            return [self._delta(index, {"content": text}, self._logprobs([text], 0), tokens, finish)]
        chunks = [self._call({"index": 0, "function": {"arguments": text}}, tokens)] if text else []
        return [*chunks, self._delta(index, {}, None, tokens, finish)] if finish else chunks

    def _delta(self, index: int, delta: dict[str, Any], logprobs: Any, tokens: int, finish: str | None) -> bytes:
        stop = {"stop_reason": None} if finish else {}
        end = {"finish_reason": self._finish(finish), **stop, "token_ids": None}
        return self.chunk({"index": index, "delta": delta, "logprobs": logprobs, **end}, tokens)
