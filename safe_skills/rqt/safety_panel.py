"""The safety panel as a plugin of rqt: `rqt --standalone safe_skills`."""

from rqt_gui_py.plugin import Plugin

from safe_skills.rqt.widget import PanelWidget


class SafetyPanel(Plugin):
    """Shows what the safety monitor does and why, and stops the robot.

    The panel has a node of its own, not rqt's: see `link`.

    Args:
        context: rqt's.
    """

    def __init__(self, context) -> None:
        super().__init__(context)
        self.setObjectName("SafetyPanel")
        self.widget = PanelWidget()
        if context.serial_number() > 1:
            self.widget.setWindowTitle(f"Safety panel ({context.serial_number()})")
        context.add_widget(self.widget)

    def shutdown_plugin(self) -> None:
        """Leave the graph before the widget goes."""
        self.widget.close_panel()

    def save_settings(self, plugin_settings, instance_settings) -> None:
        """Keep the namespace."""
        instance_settings.set_value("namespace", self.widget.namespace)

    def restore_settings(self, plugin_settings, instance_settings) -> None:
        """Watch the robot that was watched when the settings were saved."""
        namespace = instance_settings.value("namespace") or ""
        if namespace != self.widget.namespace:
            self.widget.set_namespace(namespace)
