"""Tests of the page as a user sees it: Debian's chromium, driven by Playwright."""
