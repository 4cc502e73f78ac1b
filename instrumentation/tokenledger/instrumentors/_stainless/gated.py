"""A request that budgets may refuse: it is read, but neither sent nor started.

The budgets' code is loaded with the first such request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry.context import get_current

from tokenledger._attribution.context import attribution_in
from tokenledger._attribution.layers import NOTHING
from tokenledger._guard import Guard
from tokenledger._otel_internals import baggage_in
from tokenledger._state import RUNTIME
from tokenledger.instrumentors._stainless.pending import Pending

if TYPE_CHECKING:
    from tokenledger._attribution.layers import Layer
    from tokenledger._calls.tracer import CallTracer
    from tokenledger._usage.fields import Attributes
    from tokenledger.instrumentors._base.api import RequestTemplate
    from tokenledger.instrumentors._base.api_shape import Body
    from tokenledger.instrumentors._stainless.pending import Recorded
    from tokenledger_semconv.budgets import Hold


class GatedRequest(NamedTuple):
    """What was read of a request, to ask the budgets and to start its call afterwards.

    Args:
        tracer: starts the call.
        template: what it has in common with other requests.
        options: the SDK's own description of it.
        body: its JSON body.
        per_call: attribution given with the call itself.
        settings: further attributes of the request, which the span gets at its end.
        stream: whether a stream was requested.
        raw: how the caller requested the bare HTTP response; "" if not.
    """

    tracer: CallTracer
    template: RequestTemplate
    options: Any
    body: Body
    per_call: Layer
    settings: Attributes
    stream: bool
    raw: str

    def admit(self) -> Recorded | None:
        """Start the call if the budgets allow it; `None` passes the request through.

        Raises:
            BudgetExceeded: a budget refuses it.
        """
        from tokenledger._budgets.gate import admit

        return self._start(admit(self._attributes(), self.body))

    async def admit_async(self) -> Recorded | None:
        """The same without blocking the event loop."""
        from tokenledger._budgets.gate import admit_async

        return self._start(await admit_async(self._attributes(), self.body))

    def _attributes(self) -> Attributes:
        """The attributes of the call that the budgets decide by."""
        attributes: Attributes = {**self.settings, **self.template.start_attributes}
        with Guard("reading the attribution of a call for its budgets"):
            current = get_current()
            attribution = attribution_in(
                current,
                baggage_in(current) or NOTHING,
                provider_user=self.template.shape.user(self.body),
                per_call=self.per_call,
                defaults=RUNTIME.setup.defaults,
            )
            attributes.update(attribution)
        return attributes

    def _start(self, hold: Hold | None) -> Recorded | None:
        """Start the call; the hold ends with it, or now if it cannot be started."""
        with Guard("reading a request"):
            template, options = self.template, self.options
            shape = template.shape
            call = self.tracer.begin(
                template.start_attributes,
                get_current(),
                shape.user(self.body),
                self.per_call,
                settings=self.settings,
            )
            pending: Pending | None = None
            if self.stream or self.raw or callable(options.post_parser):
                pending = Pending.prepared(call, template, options, self.stream, self.raw)
            if hold is not None:
                call.settle_with(hold)
            return call, shape.read, pending
        if hold is not None:
            hold.release()
        return None


def gated(*request: Any) -> GatedRequest | None:  # noqa: ANN401 - the parts of a request
    """A request that a budget may refuse; `None` if there is no budget. Never raises.

    Args:
        request: the parts of a `GatedRequest`, in order.
    """
    with Guard("looking for the budgets of a call"):
        from tokenledger._budgets.gate import has_budgets

        if has_budgets(get_current()):
            return GatedRequest(*request)
    return None
