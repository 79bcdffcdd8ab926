#!/usr/bin/env python3
from launch import entry

entry()
