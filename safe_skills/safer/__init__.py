"""SAFER: a skill prior that has learned from safe and unsafe experience, and its assurances."""
