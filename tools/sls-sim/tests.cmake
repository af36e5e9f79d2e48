# Included at the end of the top folder, where testing is enabled and cmocka has been found.
foreach(name sim_auth_test sim_groups_test)
  add_executable(${name} ${PROJECT_SOURCE_DIR}/tests/unit/${name}.c)
  target_compile_definitions(${name} PRIVATE VECTORS="${PROJECT_SOURCE_DIR}/tests/vectors")
  target_link_libraries(${name} PRIVATE sls-sim-core PkgConfig::CMOCKA)
  add_test(NAME unit-${name} COMMAND ${name})
endforeach()
add_test(NAME system-sim_smoke COMMAND /usr/bin/python3
  ${PROJECT_SOURCE_DIR}/tests/system/sim_smoke.py $<TARGET_FILE:sls-sim>)
add_test(NAME system-sim_vendor COMMAND /usr/bin/python3
  ${PROJECT_SOURCE_DIR}/tests/system/sim_vendor.py $<TARGET_FILE:sls-sim>)
