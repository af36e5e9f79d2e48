find_program(PROTOC_C protoc-c REQUIRED)
set(PROTO_DIR ${CMAKE_CURRENT_BINARY_DIR}/proto)
file(MAKE_DIRECTORY ${PROTO_DIR})
add_custom_command(
  OUTPUT ${PROTO_DIR}/sls_logs.pb-c.c ${PROTO_DIR}/sls_logs.pb-c.h
  COMMAND ${PROTOC_C} --c_out=${PROTO_DIR} --proto_path=${PROJECT_SOURCE_DIR}/tests/lib
          ${PROJECT_SOURCE_DIR}/tests/lib/sls_logs.proto
  DEPENDS ${PROJECT_SOURCE_DIR}/tests/lib/sls_logs.proto)
set_source_files_properties(${PROTO_DIR}/sls_logs.pb-c.c PROPERTIES COMPILE_OPTIONS -w)
slsr_unit(codec_test codec_test.c ${PROTO_DIR}/sls_logs.pb-c.c)
target_include_directories(codec_test SYSTEM PRIVATE ${PROTO_DIR})
target_link_libraries(codec_test PRIVATE PkgConfig::PROTOBUFC PkgConfig::LZ4)
