#!/bin/sh
# Makes simulator/clip.mp4, the same bytes on every run of the same ffmpeg (Debian: apt-get install ffmpeg).
set -eu
ffmpeg -v error -y -f lavfi -i "testsrc2=size=160x90:rate=12:duration=1" \
  -c:v libx264 -profile:v baseline -pix_fmt yuv420p -crf 36 -preset veryslow -movflags +faststart \
  -fflags +bitexact -flags:v +bitexact -map_metadata -1 -an "$(dirname "$0")/clip.mp4"
