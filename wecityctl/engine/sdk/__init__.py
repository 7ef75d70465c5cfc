"""The Pulumi SDK as our programs see it, and recording what programs register without an engine."""
