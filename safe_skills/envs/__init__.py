"""Gymnasium environments: `safe_skills/Cable-v0`."""

import gymnasium

gymnasium.register("safe_skills/Cable-v0", entry_point="safe_skills.envs.cable:CableEnv")
