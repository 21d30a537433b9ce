"""Carrying operations out: begin, call the gateway, finish; recovery; the inbox of notifications."""
