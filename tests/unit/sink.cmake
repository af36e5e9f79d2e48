# syslog-sink's own parser, deframer and tally; they share no code with the library.
function(sink_unit name)
  slsr_unit(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE sinkparts)
endfunction()

if(TARGET sinkparts)
  sink_unit(sink_deframe_test sink_deframe_test.c)
  sink_unit(sink_parse_test sink_parse_test.c)
  sink_unit(sink_tally_test sink_tally_test.c)
  find_program(PYTHON3 python3 PATHS /usr/bin NO_DEFAULT_PATH)
  if(PYTHON3)
    add_test(NAME unit-sink_program_test
      COMMAND ${PYTHON3} ${CMAKE_CURRENT_SOURCE_DIR}/sink_program_test.py $<TARGET_FILE:syslog-sink>)
  endif()
endif()
