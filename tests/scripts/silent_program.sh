#!/bin/sh
# Stands for a program that takes its time to start: it answers nothing, whatever it is told.
exec sleep 600
