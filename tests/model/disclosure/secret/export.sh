#!/bin/sh
export SMS_TOKEN=abc
