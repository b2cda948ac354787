"""Let a model on your own machine write the programs: any server that speaks OpenAI's protocol.

    vllm serve Qwen/Qwen3-Coder-30B-A3B-Instruct                      # or llama-server, ollama serve, …
    python examples/local_model.py http://127.0.0.1:8000/v1 Qwen/Qwen3-Coder-30B-A3B-Instruct

Ollama listens at http://127.0.0.1:11434/v1, llama.cpp's server at http://127.0.0.1:8080/v1.  Nothing
leaves the machine; most local servers take any key.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from client import Client


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("base_url", help="of the model server, such as http://127.0.0.1:8000/v1")
    parser.add_argument("model", help="as the server names it")
    parser.add_argument("--key", default="none", help="that the server wants")
    parser.add_argument("--task", default="cartpole-park")
    parser.add_argument("--method", default="smith")
    parser.add_argument("--iterations", type=int, default=2)
    parser.add_argument("--candidates", type=int, default=4)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--home", type=Path, default=Path(".rewardsmith"))
    parser.add_argument("--out", type=Path, default=Path("reward.py"))
    asked = parser.parse_args()

    server = {"openai_base_url": asked.base_url, "openai_api_key": asked.key}
    with Client.embedded(asked.home, **server) as client:
        job = client.jobs.create(
            asked.task,
            method=asked.method,
            designer={"name": "openai", "model": asked.model},
            iterations=asked.iterations,
            candidates=asked.candidates,
            training={"steps": asked.steps, "seeds": 2},
        )
        for event in job.stream():
            print(event.data["message"], flush=True)
        for exchange in job.refresh().exchanges():
            print(
                f"{exchange.model}: {exchange.usage.completion_tokens} tokens, {exchange.outcome}"
            )
        if job.view.outcome is None:
            raise SystemExit(f"The job is {job.status}: {job.view.failure}")
        print(job.view.outcome.sentence)
        if job.view.outcome.best is not None:
            print(f"saved as {job.best.save(asked.out)}")


if __name__ == "__main__":
    main()
