"""What differs from robot to robot: kinematics, frames, and how a set-point becomes a command."""
