"""LS3: planning in a learned latent space, inside a learned safe set (Wilcox et al., 2021)."""
