"""One replica of vLLM, as a discrete-event model: continuous batching, chunked prefill, a shared prefix cache.

What a step computes is decided as vLLM's scheduler does it: each sequence that decodes gets its token; what is left of
`max_num_batched_tokens` goes to prompts, first come first served, in chunks; a request is let in when its whole prompt
fits in the KV cache. Where a sequence that decodes finds no room, the request that was let in last is thrown out, waits
before all others, and is computed again with what it had written.

Steps that only decode differ by one token for each sequence, so a run of them is one sum, and the engine jumps to its
end: the next sequence that ends, the next arrival, or the step for which there might be no room. An engine of hundreds
of steps a second costs a few events for each request.
"""

import math
from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush

from gateway.settings.profile import EngineProfile
from gateway.simulation.jobs import Job, Run
from gateway.simulation.kv import KvCache

NEVER = math.inf


class Engine:
    """One replica. `next_at` is when something happens there: call `advance` then, not earlier and not later.

    `most_steps` bounds a run; 1 goes step by step.
    """

    def __init__(self, profile: EngineProfile, most_steps: int = 1 << 30) -> None:
        self.profile = profile
        self.kv = KvCache(profile.kv_tokens)
        self.next_at = NEVER
        self.busy_s = 0.0
        self.steps = 0
        self.prefilled = 0
        self.decoded = 0
        self.preemptions = 0
        self.work_s = 0.0
        """The time of its steps but `base_s`: what its requests added."""
        self._most_steps = most_steps
        self._waiting: deque[Job] = deque()
        self._running: dict[Job, None] = {}
        self._prefilling: deque[Job] = deque()
        self._ends: list[tuple[int, int, Job]] = []
        self._number = 0
        self._sequences = 0
        self._context = 0  # of the sequences that decode, in the next step
        self._grows = [0] * profile.kv_block  # how many sequences need a block in the steps of this remainder
        self._run: Run | None = None

    @property
    def waiting(self) -> int:
        """Requests that have not been let in."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Requests that have been let in."""
        return len(self._running)

    def usage(self, now: float) -> float:
        """The part of the KV cache that requests hold, 0 to 1."""
        grown = 0
        if self._run is not None:
            grown = self._growth(self._run.done(now)) * self.profile.kv_block
        return self.kv.usage + grown / self.kv.capacity

    def fits(self, job: Job) -> bool:
        """Whether the engine can ever answer it."""
        return _whole(job.input_tokens + job.output_tokens, self.profile.kv_block) <= self.kv.capacity

    def submit(self, job: Job, now: float) -> None:
        """A request arrives. Whatever runs ends its step first."""
        self._waiting.append(job)
        if self._run is None:
            self._plan(now)
        elif not self._run.chunks and len(self._waiting) == 1 and len(self._running) < self.profile.max_num_seqs:
            run = self._run
            done = run.done(now)
            if done < run.steps:
                run.steps = max(1, done if run.after(done) == now else done + 1)
                self.next_at = run.after(run.steps)

    def advance(self) -> list[Job]:
        """End what is under way at `next_at`, and begin what follows.

        Gives the jobs that have their first token now, or all of them: `finished_at` tells which.
        """
        run, now = self._run, self.next_at
        if run is None:
            return []
        told = self._end(run, now)
        self._plan(now)
        return told

    def _end(self, run: Run, now: float) -> list[Job]:
        base = self.profile.step.base_s * run.steps
        self.busy_s += now - run.start
        self.work_s += now - run.start - base
        self.kv.take(self._growth(run.steps) * self.profile.kv_block)
        self.steps += run.steps
        self._context += self._sequences * run.steps
        self.decoded += self._sequences * run.steps
        told = self._ended(now)
        for job in run.chunks:
            if job.computed == job.prompt:
                self._prefilling.remove(job)
                told.append(job)
                self._begin_decoding(job, now)
        self._run = None
        return told

    def _ended(self, now: float) -> list[Job]:
        """Let go those that have all their tokens."""
        told: list[Job] = []
        ends = self._ends
        while ends and ends[0][0] <= self.steps:
            at, _, job = heappop(ends)
            if job.ends == at:
                self._stop_decoding(job)
                self._finish(job, now)
                told.append(job)
        return told

    def _begin_decoding(self, job: Job, now: float) -> None:
        """Its prompt is computed, and the step that ended it gave a token."""
        job.produced += min(1, job.output_tokens - job.produced)
        if job.first_at is None:
            job.first_at = now
        if job.produced == job.output_tokens:
            self._finish(job, now)
            return
        job.joined = self.steps
        job.ends = self.steps + job.output_tokens - job.produced
        self._number += 1
        heappush(self._ends, (job.ends, self._number, job))
        self._sequences += 1
        self._context += job.prompt + 1
        self._grows[self._remainder(job)] += 1

    def _stop_decoding(self, job: Job) -> None:
        steps = self.steps - job.joined
        self._sequences -= 1
        self._context -= job.prompt + 1 + steps
        self._grows[self._remainder(job)] -= 1
        slack = self._slack(job)
        if steps > slack:
            block = self.profile.kv_block
            job.charge += -(-(steps - slack) // block) * block
        job.produced += steps
        job.joined = job.ends = -1

    def _finish(self, job: Job, now: float) -> None:
        job.finished_at = now
        del self._running[job]
        self.kv.release(job.held, job.charge)

    def _slack(self, job: Job) -> int:
        """Tokens that its last block still takes, after its prompt."""
        return job.charge - (job.prompt - len(job.held) * job.block_tokens)

    def _remainder(self, job: Job) -> int:
        return (job.joined + self._slack(job) + 1) % self.profile.kv_block

    def _growth(self, steps: int) -> int:
        """Blocks that the sequences take in the next so many steps."""
        block = self.profile.kv_block
        whole, rest = divmod(steps, block)
        return whole * self._sequences + sum(self._grows[(self.steps + 1 + each) % block] for each in range(rest))

    def _plan(self, now: float) -> None:
        """Begin the next steps."""
        thrown = self._make_room()
        chunks, tokens = self._chunks()
        if not thrown or not self._running:  # one that threw itself out begins again at once
            tokens += self._let_in(chunks, tokens, now)
        if not self._running:
            self.next_at = NEVER
            return
        self.prefilled += tokens
        step = self.profile.step
        steps = 1 if chunks or thrown else self._decoding_run()
        self._run = Run(
            now,
            steps,
            step.of(tokens, self._sequences, self._context),
            step.context_token_s * self._sequences,
            chunks,
        )
        self.next_at = self._run.after(steps)

    def _decoding_run(self) -> int:
        """How many steps nothing can change but an arrival: until the first sequence ends, or room may run out."""
        while self._ends[0][2].ends != self._ends[0][0]:
            heappop(self._ends)
        steps = min(self._most_steps, self._ends[0][0] - self.steps)
        block = self.profile.kv_block
        room = self.kv.available // block
        if self._growth(steps) > room:
            steps = room // self._sequences * block
            while self._growth(steps + 1) <= room:
                steps += 1
        return max(1, steps)

    def _make_room(self) -> bool:
        """Throw out the last ones, until every sequence that decodes has room for a token. Whether any had to go."""
        block, thrown = self.profile.kv_block, False
        while self._growth(1) * block > self.kv.available:
            job, _ = self._running.popitem()
            if job.joined >= 0:
                self._stop_decoding(job)
            else:
                self._prefilling.remove(job)
            self.kv.release(job.held, job.charge)
            job.prompt, job.computed = job.input_tokens + job.produced, 0
            job.charge, job.held = 0, []
            job.preempted += 1
            self.preemptions += 1
            self._waiting.appendleft(job)
            thrown = True
        return thrown

    def _chunks(self) -> tuple[list[Job], int]:
        """Chunks of the prompts that are being computed, and their tokens."""
        budget = self.profile.max_num_batched_tokens - self._sequences
        chunks: list[Job] = []
        tokens = 0
        for job in self._prefilling:
            if tokens >= budget:
                break
            tokens += self._compute(job, budget - tokens)
            chunks.append(job)
        return chunks, tokens

    def _let_in(self, chunks: list[Job], tokens: int, now: float) -> int:
        """Let in whoever waits, while it fits; adds to `chunks`, and gives the tokens added."""
        profile, added = self.profile, 0
        budget = profile.max_num_batched_tokens - self._sequences - tokens
        grows = self._growth(1) * profile.kv_block
        while self._waiting and added < budget and len(self._running) < profile.max_num_seqs:
            job = self._waiting[0]
            # Of a prompt that is all there, one block is computed: something has to give the first token.
            findable = job.blocks[: (job.prompt - 1) // job.block_tokens]
            found: Sequence[int] = job.blocks[: self.kv.matched(findable)]
            cached = len(found) * job.block_tokens
            alone = _whole(job.prompt - cached, profile.kv_block)
            if self.kv.missing(found, alone) + grows > self.kv.available:
                if self._running:
                    break
                # Nobody will make room for it. It fits without what was found: blocks of a trace need not be whole
                # blocks of the engine, nor of the size with which another request brought them.
                found, cached, alone = (), 0, _whole(job.prompt, profile.kv_block)
            self._waiting.popleft()
            for block in found:
                self.kv.hold(block)
            self.kv.take(alone)
            job.held, job.charge, job.computed = list(found), alone, cached
            if job.started_at is None:
                job.started_at, job.cached = now, cached
            self._running[job] = None
            self._prefilling.append(job)
            added += self._compute(job, budget - added)
            chunks.append(job)
        return added

    def _compute(self, job: Job, budget: int) -> int:
        """The next chunk of a prompt; its tokens. Its whole blocks can be found from now on, as in vLLM."""
        tokens = min(job.prompt - job.computed, budget)
        before, job.computed = job.computed, job.computed + tokens
        size = job.block_tokens
        for block in job.blocks[before // size : job.computed // size]:
            if self.kv.share(block, size):
                job.held.append(block)
                job.charge -= size
        return tokens


def _whole(tokens: int, block: int) -> int:
    """Tokens of the blocks that so many take."""
    return -(-tokens // block) * block
