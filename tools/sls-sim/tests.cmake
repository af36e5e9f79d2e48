# Included at the end of the top folder, where testing is enabled and cmocka has been found.
add_executable(sim_auth_test ${PROJECT_SOURCE_DIR}/tests/unit/sim_auth_test.c ${SIM_TEST_CORE})
target_include_directories(sim_auth_test PRIVATE ${PROJECT_SOURCE_DIR}/tools/sls-sim)
target_compile_definitions(sim_auth_test PRIVATE VECTORS="${PROJECT_SOURCE_DIR}/tests/vectors")
target_link_libraries(sim_auth_test PRIVATE PkgConfig::CMOCKA PkgConfig::JANSSON PkgConfig::LZ4
  PkgConfig::CRYPTO Threads::Threads)
add_executable(sim_groups_test ${PROJECT_SOURCE_DIR}/tests/unit/sim_groups_test.c ${SIM_TEST_CORE})
target_include_directories(sim_groups_test PRIVATE ${PROJECT_SOURCE_DIR}/tools/sls-sim)
target_link_libraries(sim_groups_test PRIVATE PkgConfig::CMOCKA PkgConfig::JANSSON PkgConfig::LZ4
  PkgConfig::CRYPTO Threads::Threads)
add_test(NAME unit-sim_auth_test COMMAND sim_auth_test)
add_test(NAME unit-sim_groups_test COMMAND sim_groups_test)
add_test(NAME system-sim_smoke COMMAND /usr/bin/python3
  ${PROJECT_SOURCE_DIR}/tests/system/sim_smoke.py $<TARGET_FILE:sls-sim>)
