# Mends what JUCE 7.0 writes about an LV2, after each link:
#
#   cmake -DBUNDLE=<Stembridge.lv2> -P lv2_description.cmake
#
# - The named values of a choice are numbered 0, 1, 2 … as its range is; JUCE writes fractions of
#   the range, so that a host's menu would set the wrong entry (most become 0).
# - A plugin with maintainer and release is a doap:Project, too; ui:noUserResize is no interface
#   and untrue here, options#interface is no feature; a lone "Default" preset helps nobody.
# Running it again changes nothing. tests/test_plugin_lv2.py validates the result.
cmake_minimum_required(VERSION 3.22)

# Semicolons and brackets mean something in CMake's lists: away while lines are lists.
function(read_lines file into)
  file(READ "${file}" text)
  string(REPLACE "[" "@OPEN@" text "${text}")
  string(REPLACE "]" "@SHUT@" text "${text}")
  string(REPLACE ";" "@SEMI@" text "${text}")
  string(REPLACE "\n" ";" text "${text}")
  set(${into} "${text}" PARENT_SCOPE)
endfunction()

function(write_lines file lines)
  string(REPLACE ";" "\n" text "${lines}")
  string(REPLACE "@SEMI@" ";" text "${text}")
  string(REPLACE "@OPEN@" "[" text "${text}")
  string(REPLACE "@SHUT@" "]" text "${text}")
  file(WRITE "${file}" "${text}")
endfunction()

read_lines("${BUNDLE}/dsp.ttl" lines)
set(mended "")
set(number 0)
foreach(line IN LISTS lines)
  if(line MATCHES "^plug:")
    set(number 0)
  elseif(line MATCHES "^\t\trdf:value ")
    set(line "\t\trdf:value ${number} @SEMI@")
    math(EXPR number "${number} + 1")
  endif()
  string(REPLACE "\ta lv2:Plugin @SEMI@" "\ta lv2:Plugin , doap:Project @SEMI@" line "${line}")
  list(APPEND mended "${line}")
endforeach()
write_lines("${BUNDLE}/dsp.ttl" "${mended}")

file(READ "${BUNDLE}/ui.ttl" text)
string(REPLACE "\t\tui:noUserResize ,\n" "" text "${text}")
string(REPLACE "\t\tui:resize ,\n\t\topts:interface ,\n" "\t\tui:resize ,\n" text "${text}")
file(WRITE "${BUNDLE}/ui.ttl" "${text}")

file(READ "${BUNDLE}/manifest.ttl" text)
string(REGEX REPLACE "\n<[^>]*:preset1>.*" "" text "${text}")
file(WRITE "${BUNDLE}/manifest.ttl" "${text}")
