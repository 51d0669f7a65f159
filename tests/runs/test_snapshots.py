"""A long run is folded from its newest snapshot, and comes to the same as the fold of all of it."""

from datetime import UTC, datetime

from aegis.workflow.run import Signalled


def test_a_run_with_many_events_is_read_from_a_snapshot_and_says_the_same(tmp_path, store_url):
    from runs.flows import flows
    from runs.test_waits import DOCUMENTS

    lines = "    workflow.signal: {contract: workflow.signal@1}\n"
    rules = "    - {id: workflows, effect: allow, tools: [workflow.signal]}\n"
    with flows(tmp_path, store_url, workflows={"signal": DOCUMENTS["signal"]}, lines=lines, rules=rules) as f:
        run = f.begin("signal", amount=1)
        f.until(run, "waiting")

        async def signals(app):
            for number in range(150):
                told = Signalled(at=datetime.now(UTC), name="other", key=str(number), payload={"n": number})
                await app.workflows.runs.advance("acme", run, told)

        async def folds(app):
            histories = app.workflows.histories
            histories.drop("acme", run)
            short = await histories.load("acme", run)
            base = await histories._base("acme", short.flow, None)
            from aegis.workflow.transition import begin, transition

            state = begin(run)
            for each in await histories.lived("acme", run):
                state, _ = transition(short.workflow, state, each.event)
            return short, base, state

        f.inside(signals)
        short, base, whole = f.inside(folds)
        assert short.flow.snapshot.events >= 128
        assert base[0].events == short.flow.snapshot.events
        assert short.state == whole
