"""Plays nights with workers: the run hands its users over, workers import them and are struck."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import psycopg

from drill.play import PATIENCE, Ended, Played, Player, Told, _Process
from drill.script import Errand, Night, Strike
from drill.seams import OF_WORKERS

WITH_WORKERS = ("--engine", "procrastinate", "--wait")

OF_THE_RUN = ("the run begins", "users are handed over")
"""Seams that the process reaches that hands a run over; all others are struck in a worker."""

QUIET = Strike()


class CrewPlayer(Player):
    """Each run has one worker or two; one that dies is followed by another, as by systemd."""

    def play(self, night: Night) -> Played:
        """Run all commands of a night, and let the workers of the day end what is left."""
        self._hours_later()
        self.crew_ended: list[Ended] = []
        self.left_open = False
        played = super().play(self._at_a_seam_of_workers(night))
        played.ended[:0] = self.crew_ended
        played.deeds.update(["hung"] * self.left_open)
        return played

    @staticmethod
    def _at_a_seam_of_workers(night: Night) -> Night:
        """In one of three nights, strike where only workers come by."""
        if night.strike.seam is None or night.need or night.number % 3:
            return night
        seams = list(OF_WORKERS)
        name = seams[night.number // 3 % len(seams)]
        nth = min(night.strike.nth, OF_WORKERS[name].most)
        return replace(night, strike=replace(night.strike, seam=name, nth=nth))

    def _hours_later(self) -> None:
        """Let what workers wait for by the database's clock be over."""
        self.database.age_leases()
        self._let_others_close()

    def _let_others_close(self) -> None:
        with suppress(psycopg.OperationalError):  # it may be away
            self.database.do("UPDATE checkinsync_queue.runs SET closing_until = NULL")

    def _at_work(self) -> bool:
        return bool(
            self.database.rows("SELECT FROM checkinsync_queue.runs WHERE closed_at IS NULL")
        )

    # --- processes --------------------------------------------------------------------------------

    def _begin(self, words: tuple[str, ...], errand: Errand, strike: Strike) -> _Process:
        if words[0] != "orchestrate":
            return super()._begin(words, errand, strike)
        struck = strike.seam in OF_THE_RUN
        run = super()._begin((*words, *WITH_WORKERS), errand, strike if struck else QUIET)
        run.crew.append(self._worker(errand, QUIET if struck else strike))
        if errand.workers > 2:
            run.crew.append(self._worker(errand))
        if strike.nth % 3 == 0:
            self.process = run  # which may be asked to stop
        return run

    def _worker(self, errand: Errand = Errand(), strike: Strike = QUIET) -> _Process:  # noqa: B008
        return super()._begin(("worker",), errand, strike)

    def _see_to_its_end(self, process: _Process, night: Night, played: Played) -> None:
        """Watch a run and its workers; start another one for each that has ended."""
        if not process.crew:
            super()._see_to_its_end(process, night, played)
            return
        struck, deadline = False, time.monotonic() + PATIENCE
        while process.popen.poll() is None:
            if time.monotonic() > deadline:
                process.popen.kill()
                played.deeds["hung"] += 1
            for each in (process, *process.crew):
                if each.stands_still:
                    struck = True
                    self._at_the_seam(each, night, played)
                elif each is not process and each.popen.poll() is not None:
                    self._replace(each, process, played)
            time.sleep(0.004)
        played.deeds.update(["kill"] * (process.popen.returncode == -signal.SIGKILL))
        played.ended.append(self._over(process, struck=struck))

    def _replace(self, dead: _Process, run: _Process, played: Played) -> None:
        played.deeds.update(["kill"] * (dead.popen.returncode == -signal.SIGKILL))
        self.crew_ended.append(self._over(dead))
        run.crew.remove(dead)
        self._let_others_close()
        run.crew.append(self._worker())

    def _over(self, process: _Process, *, clean: bool = False, struck: bool = False) -> Ended:
        """Return the end of a process; a run's workers are asked to stop then, and end as well."""
        ended = super()._over(process, clean=clean, struck=struck)
        for each in process.crew:
            each.popen.send_signal(signal.SIGTERM)
            each.popen.send_signal(signal.SIGCONT)
        for each in process.crew:
            self.crew_ended.append(super()._over(each, clean=clean))
        process.crew.clear()
        return ended

    def _all_is_well(self) -> None:
        """Let the workers of the day end a run, if those of the night could not."""
        super()._all_is_well()
        if not self._at_work():
            return
        self._let_others_close()
        worker, deadline = self._worker(), time.monotonic() + PATIENCE
        while self._at_work() and time.monotonic() < deadline:
            time.sleep(0.02)
        self.left_open = self._at_work()
        worker.popen.send_signal(signal.SIGTERM)
        self.crew_ended.append(self._over(worker, clean=True))

    def _clean_run(self, played: Played, errand: Errand) -> None:
        self._hours_later()
        super()._clean_run(played, errand)

    def by_command_line(self, *words: str, kill_at: int = 0) -> Ended:
        """Run the real command line on the real clock, with a worker that may be killed at a
        request: another one takes its jobs over when its heartbeat is missed."""
        if words[0] != "orchestrate":
            return super().by_command_line(*words, kill_at=kill_at)
        self._hours_later()
        server = self.foursquare.server
        with server.lock:
            server.requests.clear()
            crew = [self._real("worker")]
            if kill_at:
                server.on_request = lambda _: (
                    crew[0].popen.kill() if len(server.requests) == kill_at else None
                )
        run = self._real(*words, *WITH_WORKERS)
        run.crew.extend(crew)
        deadline = time.monotonic() + PATIENCE
        while run.popen.poll() is None:
            if time.monotonic() > deadline:
                run.popen.kill()
            if crew[-1].popen.poll() is not None:
                crew.append(self._real("worker"))
                run.crew.append(crew[-1])
            time.sleep(0.02)
        server.on_request = None
        return self._over(run, clean=not kill_at)

    def _real(self, *words: str) -> _Process:
        log = self._next_log(words)
        options = ["--log-format", "json", "--log-file", str(log)]
        return self._popen("checkinsync", [*options, *words], words, log)

    # --- deeds ------------------------------------------------------------------------------------

    def _at_the_seam(self, process: _Process, night: Night, played: Played) -> None:
        if process.words[0] != "worker" or night.strike.deed != "sleep beyond the lease":
            super()._at_the_seam(process, night, played)
            return
        before, tokens = self._overslept(process, night, played)
        process.popen.send_signal(signal.SIGCONT)
        process.popen.send_signal(signal.SIGTERM)
        process.popen.wait(PATIENCE)
        played.slept.append(Told(before, self._rows_of([], tokens)))

    def _overslept(
        self, sleeper: _Process, night: Night, played: Played
    ) -> tuple[list[tuple], list[int]]:
        """Let the leases of a stopped worker expire, and others do its work; return the rows of
        its jobs after that, with their leases."""
        played.deeds["sleep beyond the lease"] += 1
        with self.foursquare.server.lock:
            self.foursquare.server.faults.clear()
            self.foursquare.server.switches.hourly_limit = 500
        self.database.let_go_of_the_stopped()
        held = self.database.rows(
            """
            SELECT user_id, token FROM import_leases
             WHERE expires_at > now() AND split_part(owner, ' ', 2) = %s
            """,
            str(sleeper.popen.pid),
        )
        self._hours_later()
        self.clock.skip(timedelta(minutes=2))
        if night.whose % 2 and held:
            held = held[:1]
            other = self._start(night, Errand(skew=30), QUIET, whose=str(held[0][0]))
            other.popen.wait(PATIENCE)
        else:
            other, deadline = self._worker(Errand(skew=30)), time.monotonic() + PATIENCE
            while self._at_work() and time.monotonic() < deadline:
                time.sleep(0.02)
            other.popen.send_signal(signal.SIGTERM)
        self.crew_ended.append(self._over(other, clean=True))
        tokens = [token for _, token in held]
        return self._rows_of([], tokens), tokens
