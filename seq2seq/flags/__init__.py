"""The flags of the commands that have many. Nothing heavy is loaded: --help is quick."""
