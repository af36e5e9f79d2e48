slsr_unit(config config_test.c)
target_compile_definitions(config PRIVATE PROJECT_DIR="${PROJECT_SOURCE_DIR}")
slsr_unit(config_bad config_bad_test.c)
target_compile_definitions(config_bad PRIVATE PROJECT_DIR="${PROJECT_SOURCE_DIR}")
