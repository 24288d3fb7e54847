"""A chat through the official `openai` client, plain and streamed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from fleet import Keys, Plan
from openai import OpenAI
from show import console, installed, note


def chat(plan: Plan, keys: Keys) -> None:
    """Ask the same question twice, and show answer, tokens, cost and replica of each."""
    client = OpenAI(base_url=f"{plan.url}/v1", api_key=keys.serve)
    messages: Any = [{"role": "user", "content": plan.question}]
    note(f'> {plan.question}   [dim]client.chat.completions.create(model="faq", …)')
    plain = client.chat.completions.with_raw_response.create(model="faq", messages=messages)
    answer = plain.parse()
    note(f"[bold]{answer.choices[0].message.content}")
    _facts(plan, plain.headers["x-tollgate-request-id"])

    note(f"> {plan.question}   [dim]…, stream=True)")
    streamed = client.chat.completions.with_raw_response.create(model="faq", messages=messages, stream=True)
    for chunk in streamed.parse():
        if chunk.choices and (text := chunk.choices[0].delta.content):
            console.print(f"[bold]{text}", end="")
            sys.stdout.flush()
    console.print()
    _facts(plan, streamed.headers["x-tollgate-request-id"])


def _facts(plan: Plan, request_id: str) -> None:
    """What the ledger has of a request, whichever way its answer came."""
    command = [installed("gateway"), "ledger", "--last", "5", "--json", "--config", str(plan.config)]
    for _ in range(20):
        printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path.cwd()).stdout
        for row in json.loads(printed):
            if row["request_id"] == request_id:
                note(
                    f"  release {row['release']}, replica {row['replica']}, {row['input_tokens']} tokens in, "
                    f"{row['output_tokens']} out, {row['cost']} {row['currency']}, {row['duration_s'] * 1000:.0f} ms",
                    style="green",
                )
                return
