"""What the gate's reason codes mean, a sentence each for an operator."""

REASONS = {
    "emergency_stop": "the emergency stop is latched: find its cause, then reset",
    "frame": "the command is in a frame that the gate does not know",
    "size": "the command has another number of entries than the robot",
    "not_finite": "the command has an entry that is not a number",
    "gripper": "the command's gripper entry is beyond 1",
    "image_missing": "no camera image has come yet",
    "image_stale": "the newest camera image is too old",
    "latent_missing": "the encoder has sent nothing yet",
    "latent_stale": "the encoder's newest latent state is too old",
    "robot_missing": "the robot has not said yet where it is",
    "robot_stale": "the robot's newest position is too old",
    "context_missing": "no safety context has come yet",
    "context_stale": "the newest safety context is too old",
    "abstract_action": "the abstract action leaves its bound eta",
    "abstract_action_unknown": "the gate has not seen the abstract action behind the command",
    "latent_mismatch": "the gate has not seen the latent state behind the command",
    "constraint": "a violation is predicted one step ahead",
    "constraint_unknown": "the risk of the command is not known",
    "step_limit": "the step is too long: shortened",
    "step_rejected": "the step is far beyond the limit",
    "safe_set": "outside the learned safe set: slower",
    "safe_set_unknown": "the safe set is not known here: slower",
    "workspace": "the step leads out of the workspace: cut at its border",
    "outside_workspace": "the robot is outside its workspace",
    "position_unknown": "the robot's position is not known",
    "change_limit": "the command changes too fast: shortened",
    "previous_unknown": "the command before cannot be read",
    "seen_contact": "the cable seems to touch the obstacle in the image",
}


def sentence(code: str) -> str:
    """Returns the sentence of a reason code; the code's own words where it is a newer one."""
    return REASONS.get(code, code.replace("_", " "))
