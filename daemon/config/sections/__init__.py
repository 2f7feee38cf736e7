"""The sections of config.toml, a module each."""
