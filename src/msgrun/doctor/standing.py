"""Where the customer stands: the customer itself, and its place in the tree of clusters."""

from collections.abc import Mapping

from msgrun.doctor.findings import Finding, Stage, Status, found, passed, skipped
from msgrun.doctor.servers import Servers
from msgrun.doctor.situation import Question
from msgrun.suggest import near_miss

_ARROW = " › "


def check_customer(question: Question, _servers: Servers) -> list[Finding]:
    """Ask whether the customer may get mail at all."""
    customer = question.subject.customer
    if "MR102" in question.blocked:
        evidence = f"{customer.code} is suspended in the billing data"
        return [
            found(
                "MR102", Stage.CUSTOMER, evidence, subject=customer.code,
                remedy="reactivate the customer in the billing data, or it is intended",
                cause="the customer is suspended",
            )
        ]  # fmt: skip
    return [passed(Stage.CUSTOMER, "active", subject=customer.code)]


def check_cluster(question: Question, _servers: Servers) -> list[Finding]:
    """Ask whether the customer is in the cluster looked at, and whether the tree above is sound."""
    subject, selection = question.subject, question.context.selection
    cluster = subject.customer.cluster
    path, broken = path_of(cluster, subject.parents)
    shown = _ARROW.join(path) or "in no cluster"
    outside = "MR103" in question.blocked
    if broken:
        remedy = "correct the parent of that cluster in the billing data"
        near = near_miss(path[0], subject.parents)
        if near is not None:
            remedy = f"write '{near}' for '{path[0]}' in the billing data"
        return [
            found(
                "MR104", Stage.CLUSTER, f"{shown}: {broken}",
                f"there is '{near}'; names are compared exactly" if near is not None else "",
                status=Status.FAIL if outside else Status.WARN, remedy=remedy,
                subject=cluster or "", refines="MR103" if outside else None,
                cause=f"the tree of clusters is broken: {broken}",
            )
        ]  # fmt: skip
    if not outside:
        if selection is None or selection.cluster is None:
            return [passed(Stage.CLUSTER, f"{shown} (no cluster is asked for)")]
        return [passed(Stage.CLUSTER, shown)]
    root = selection.cluster if selection else None
    if root is None:
        return [skipped(Stage.CLUSTER, "no cluster is asked for")]
    asked, _ = path_of(root, subject.parents)
    evidence = [f"is in {shown}", f"asked is {_ARROW.join(asked)}", _parting(path, asked)]
    if selection and not selection.children:
        evidence.append(f"only '{root}' itself is asked for, without the clusters below it")
    remedy = (
        f"move the customer below '{root}', or `msgrun start {question.context.name} "
        "--cluster NAME` for a wider cluster"
    )
    if (meant := near_miss(root, [*subject.parents, *path])) is not None:
        evidence.append(f"there is no cluster '{root}' but '{meant}'; names are compared exactly")
        remedy = f"write '{meant}' for '{root}' in the definition or the command"
    return [
        found(
            "MR103", Stage.CLUSTER, *evidence, subject=subject.customer.code, remedy=remedy,
            cause=f"the customer is not in the cluster '{root}'",
        )
    ]  # fmt: skip


def path_of(cluster: str | None, parents: Mapping[str, str | None]) -> tuple[list[str], str]:
    """Return the path from the root down to a cluster, and what breaks it ("" if nothing does).

    Without any cluster tree, a customer's cluster is a root of its own.
    """
    if cluster is None:
        return [], ""
    path = [cluster]
    while parents:
        if path[-1] not in parents:
            said = f"the parent of '{path[-2]}'" if len(path) > 1 else "the customer's cluster"
            return path[::-1], f"'{path[-1]}', {said}, does not exist"
        above = parents[path[-1]]
        if above is None:
            break
        if above in path:
            loop = [*path[path.index(above) :], above]
            return path[::-1], f"loop: {_ARROW.join(loop[::-1])}"
        path.append(above)
    return path[::-1], ""


def _parting(path: list[str], asked: list[str]) -> str:
    """Say where two paths from the root part."""
    shared = 0
    while shared < min(len(path), len(asked)) and path[shared] == asked[shared]:
        shared += 1
    return f"they part below '{path[shared - 1]}'" if shared else "they have no cluster in common"
