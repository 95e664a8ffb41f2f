"""Gymnasium environments: LS3's tasks (`safe_skills.envs.tasks`), `safe_skills/Operation-v0`."""

import gymnasium

gymnasium.register("safe_skills/Cable-v0", entry_point="safe_skills.envs.cable:CableEnv")
gymnasium.register(
    "safe_skills/Navigation-v0", entry_point="safe_skills.envs.navigation:NavigationEnv"
)
gymnasium.register(
    "safe_skills/Operation-v0", entry_point="safe_skills.envs.operation:OperationEnv"
)
gymnasium.register("safe_skills/Pushing-v0", entry_point="safe_skills.envs.pushing:PushingEnv")
gymnasium.register("safe_skills/Reacher-v0", entry_point="safe_skills.envs.reacher:ReacherEnv")
