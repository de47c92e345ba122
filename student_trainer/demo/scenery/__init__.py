"""Procedural buildings, light and weather, drawn as small photographs."""
