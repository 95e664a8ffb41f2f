"""What every node of the graph shares: lifecycle, parameters, diagnostics, a clean exit."""

import functools
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import rclpy
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher, LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn as Transition
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription
from rclpy.timer import Timer

from safe_skills.nodes import diagnostics
from safe_skills.nodes.middleware import without_shared_memory
from safe_skills.nodes.parameters import Param, ParameterError, resolve
from safe_skills.nodes.spinning import StopSignal, make_executor, spin_until

STEADY = Clock(clock_type=ClockType.STEADY_TIME)

AUTOSTART = Param(True, "Configure and activate by itself; false leaves that to a manager.")


class SkillNode(LifecycleNode):
    """A lifecycle node with a parameter table, diagnostics and one-line refusals.

    A subclass sets `NAME` and `PARAMETERS` and fills the hooks `configure`, `activate`,
    `deactivate` and `cleanup`. In `configure` it creates its topics with `advertise`, `subscribe`
    and `every`: they are destroyed again on cleanup, and callbacks run only while the node is
    active. A hook that raises `ValueError` or `OSError` refuses the transition: the node logs that
    one line, keeps it in `fault`, shows it in its diagnostics, and stays where it was. A node whose
    work is over sets `finished`; its process then ends.

    Args:
        name: Node name; `NAME` when not given.
        hardware_id: For the diagnostics.
        **kwargs: Passed to `rclpy.node.Node`.
    """

    NAME: ClassVar[str] = ""
    PARAMETERS: ClassVar[dict[str, Param]] = {}

    def __init__(
        self, name: str | None = None, *, hardware_id: str = "none", **kwargs: Any
    ) -> None:
        super().__init__(name or self.NAME, **kwargs)
        self.fault = ""
        self.finished = False
        self._phase = "unconfigured"
        self._made: list[tuple[Callable[[Any], object], Any]] = []
        self._table = {"autostart": AUTOSTART, **self.PARAMETERS}
        self._problems = self._declare()
        self.add_on_set_parameters_callback(self._judge_parameters)
        self.add_post_set_parameters_callback(self._parameters_set)
        self.refusals = diagnostics.Refusals()
        self.diagnostics = diagnostics.Updater(self, hardware_id)
        self.diagnostics.add("state", self._report_state)
        self._autostart_timer: Timer | None = None
        if self.param("autostart"):
            self._autostart_timer = self.create_timer(0.0, self.bring_up)

    # ---- hooks of a subclass

    def configure(self) -> None:
        """Load what the node needs and create its topics."""

    def activate(self) -> None:
        """Start publishing."""

    def deactivate(self) -> None:
        """Stop publishing; leave the robot still."""

    def cleanup(self) -> None:
        """Let go of what `configure` loaded."""

    def judge_parameters(self, values: dict[str, Any]) -> None:
        """Refuse new values of a configured node, by `ValueError`, that the table cannot judge."""

    def parameters_changed(self, names: set[str]) -> None:
        """Take up new values of the named parameters (only those with `runtime=True`)."""

    # ---- for subclasses

    def param(self, name: str) -> Any:
        """Return a parameter's value; lists come as lists."""
        value = self.get_parameter(name).value
        return list(value) if isinstance(self._table[name].default, list) else value

    @property
    def is_active(self) -> bool:
        """Whether the node is in its active state."""
        return self._phase == "active"

    def advertise(self, kind: type, topic: str, profile: QoSProfile) -> LifecyclePublisher:
        """Create a publisher that is silent unless the node is active."""
        publisher = self.create_lifecycle_publisher(kind, topic, profile)

        def destroy(made: LifecyclePublisher) -> None:
            self._managed_entities.discard(made)
            self.destroy_publisher(made)

        self._made.append((destroy, publisher))
        return publisher

    def subscribe(
        self,
        kind: type,
        topic: str,
        callback: Callable[..., None],
        profile: QoSProfile,
        raw: bool = False,
    ) -> Subscription:
        """Create a subscription whose callback runs only while the node is active.

        The callback takes the message (its bytes, if `raw`) and, if it asks for it, rclpy's
        message info.
        """
        made = self.create_subscription(kind, topic, self._when_active(callback), profile, raw=raw)
        self._made.append((self.destroy_subscription, made))
        return made

    def renew(self, made: Subscription) -> Subscription:
        """Create a subscription anew: it is announced again to publishers that missed it."""
        anew = self.create_subscription(
            made.msg_type, made.topic_name, made.callback, made.qos_profile, raw=made.raw
        )
        entry = (self.destroy_subscription, made)
        self._made[self._made.index(entry)] = (self.destroy_subscription, anew)
        self.destroy_subscription(made)
        return anew

    def every(self, period: float, callback: Callable[[], None]) -> Timer:
        """Create a timer of `period` seconds that runs only while the node is active.

        It goes by a clock that nobody can stop: with `use_sim_time` and no `/clock` those of the
        node's own clock would never run again, and no timeout would hold the robot.
        """
        made = self.create_timer(period, self._when_active(callback), clock=STEADY)
        self._made.append((self.destroy_timer, made))
        return made

    def later(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Return a function: when called, `callback` runs once, after what is waiting already."""

        def once() -> None:
            made.cancel()
            callback()

        # Guard conditions are made for this, but the EventsExecutor has none.
        made = self.every(0.0, once)
        made.cancel()
        return made.reset

    def serve(self, kind: type, name: str, callback: Callable[[Any, Any], Any]) -> None:
        """Create a service; it answers whenever the node is configured."""
        made = self.create_service(kind, name, callback)
        self._made.append((self.destroy_service, made))

    def refuse(self, kind: str, line: str) -> None:
        """Count an input that was refused and log its line, not more often than every 2 s."""
        if self.refusals.note(kind, line):
            self.get_logger().error(line)

    # ---- lifecycle

    def bring_up(self) -> bool:
        """Configure and activate; True when the node is active, else `fault` says why not."""
        if self._autostart_timer is not None:
            self.destroy_timer(self._autostart_timer)
            self._autostart_timer = None
        if self._phase == "unconfigured":
            self.trigger_configure()
        if self._phase == "inactive":
            self.trigger_activate()
        return self.is_active

    def on_configure(self, state: LifecycleState) -> Transition:
        """Run `configure`; a refusal leaves the node unconfigured."""
        result = self._transition(self._configure, "configure", super().on_configure, state)
        if result == Transition.SUCCESS:
            self._phase = "inactive"
        else:
            self._release()
        return result

    def on_activate(self, state: LifecycleState) -> Transition:
        """Enable the publishers, then run `activate`."""
        result = super().on_activate(state)
        if result == Transition.SUCCESS:
            self._phase = "active"
            result = self._transition(self.activate, "activate")
        if result != Transition.SUCCESS:
            self._phase = "inactive"
            super().on_deactivate(state)
        return result

    def on_deactivate(self, state: LifecycleState) -> Transition:
        """Run `deactivate` while publishers still work, then disable them."""
        result = self._transition(self.deactivate, "deactivate", super().on_deactivate, state)
        self._phase = "inactive"
        return result

    def on_cleanup(self, state: LifecycleState) -> Transition:
        """Run `cleanup` and destroy the topics."""
        result = self._transition(self.cleanup, "cleanup", super().on_cleanup, state)
        self._release()
        self._phase = "unconfigured"
        return result

    def on_shutdown(self, state: LifecycleState) -> Transition:
        """Deactivate if need be, then clean up for good."""
        if self.is_active:
            self.on_deactivate(state)
        if self._phase == "inactive":
            self.on_cleanup(state)
        self._phase = "finalized"
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> Transition:
        """After an internal error: no topics, unconfigured, ready to be configured again."""
        super().on_deactivate(state)
        self._release()
        self._phase = "unconfigured"
        return super().on_error(state)

    def shut_down(self) -> None:
        """Deactivate, clean up and finalize, whatever state the node is in."""
        if self._phase != "finalized":
            self.trigger_shutdown()

    def _configure(self) -> None:
        if self._problems:
            raise ParameterError("; ".join(self._problems))
        self.configure()

    def _transition(
        self,
        hook: Callable[[], None],
        verb: str,
        then: Callable[[LifecycleState], Transition] | None = None,
        state: LifecycleState | None = None,
    ) -> Transition:
        try:
            hook()
        except (ValueError, OSError) as error:
            self.fault = " ".join(str(error).split())
            self.get_logger().error(f"cannot {verb}: {self.fault}")
            return Transition.FAILURE
        except Exception as error:
            # rclpy would swallow it; a mistake in the program must be seen.
            self.fault = f"internal error: {error!r}"
            self.get_logger().fatal(f"cannot {verb}: {traceback.format_exc()}")
            return Transition.ERROR
        self.fault = ""
        return then(state) if then else Transition.SUCCESS

    def _release(self) -> None:
        for destroy, made in reversed(self._made):
            destroy(made)
        self._made.clear()

    def _when_active(self, callback: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(callback)
        def guarded(*message: Any) -> None:
            # rclpy's EventsExecutor hands over message and info as one tuple.
            if len(message) == 1 and isinstance(message[0], tuple):
                message = message[0]
            if self.is_active:
                callback(*message)

        return guarded

    # ---- parameters

    def _declare(self) -> list[str]:
        overrides = {
            name: list(given.value) if _is_array(given) else given.value
            for name, given in self._parameter_overrides.items()
            if not name.startswith("qos_overrides.") and not self.has_parameter(name)
        }
        values, problems = resolve(self._table, overrides)
        for name, row in self._table.items():
            self.declare_parameter(name, values[name], _descriptor(row), ignore_override=True)
        return problems

    def _judge_parameters(self, given: Iterable[Parameter]) -> SetParametersResult:
        values: dict[str, Any] = {}
        try:
            for new in given:
                row = self._table.get(new.name)
                if row is None:
                    continue
                value = row.check(new.name, list(new.value) if _is_array(new) else new.value)
                values[new.name] = value
                if not row.runtime and self._phase != "unconfigured":
                    raise ParameterError(
                        f"{new.name}: can be changed only while the node is unconfigured"
                    )
            if self._phase != "unconfigured":
                self.judge_parameters(values)
        except (ValueError, OSError) as error:
            reason = " ".join(str(error).split())
            self.get_logger().warning(f"parameter refused: {reason}")
            return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    def _parameters_set(self, given: Iterable[Parameter]) -> None:
        changed = {new.name: new.value for new in given if new.name in self._table}
        for name, value in changed.items():
            self.get_logger().info(f"parameter {name} is now {value!r}")
        if changed and self._phase != "unconfigured":
            self.parameters_changed(set(changed))

    def _report_state(self, status: diagnostics.Status) -> None:
        if self.fault:
            status.summary(diagnostics.ERROR, f"{self._phase}: {self.fault}")
        elif self.is_active:
            status.summary(diagnostics.OK, self._phase)
        else:
            status.summary(diagnostics.WARN, self._phase)
        diagnostics.process_values(status)


def _is_array(parameter: Parameter) -> bool:
    return parameter.type_.name.endswith("_ARRAY")


def _descriptor(row: Param) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=row.description)
    if row.choices:
        descriptor.additional_constraints = "one of " + ", ".join(row.choices)
    like = row.default[0] if isinstance(row.default, list) else row.default
    if row.low is not None and row.high is not None:
        if type(like) is int:
            descriptor.integer_range = [
                IntegerRange(from_value=int(row.low), to_value=int(row.high), step=0)
            ]
        elif type(like) is float:
            descriptor.floating_point_range = [
                FloatingPointRange(from_value=float(row.low), to_value=float(row.high), step=0.0)
            ]
    return descriptor


def main_for(node_class: type[SkillNode], args: list[str] | None = None) -> int:
    """Run one node until SIGINT, SIGTERM or the node's own `finished` flag.

    Args:
        node_class: The node to run, alone in a single-threaded executor.
        args: Command line; `sys.argv` when not given.

    Returns:
        Exit status: 0 after an orderly end, 2 for a command line that rcl does not understand.
    """
    os.environ.update(without_shared_memory(os.environ))
    with StopSignal() as stop:
        try:
            rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
            node = node_class()
        except Exception as error:
            if rclpy.ok():
                rclpy.shutdown()
            if not _is_command_line_error(error):
                raise
            print(f"{node_class.NAME}: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
        executor = make_executor()
        executor.add_node(node)
        try:
            spin_until(executor, lambda: bool(stop() or node.finished))
            node.shut_down()
        finally:
            executor.shutdown()
            node.destroy_node()
            rclpy.try_shutdown()
    return 0


def _is_command_line_error(error: Exception) -> bool:
    """Whether rcl refused `--ros-args` or a parameter file (its own exception types)."""
    return type(error).__module__.startswith("rclpy") or type(error).__name__ == "RCLError"
