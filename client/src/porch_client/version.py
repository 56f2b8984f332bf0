"""The release of the client: looked up here, as asking the installed package takes far longer."""

VERSION = "0.1.0"
