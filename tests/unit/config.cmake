foreach(part config config_bad config_units)
  slsr_unit(${part} ${part}_test.c)
  target_compile_definitions(${part} PRIVATE PROJECT_DIR="${PROJECT_SOURCE_DIR}")
endforeach()
