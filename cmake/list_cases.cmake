# Read by ctest when it starts: makes one ctest case of each GoogleTest case in TEST_BINARY.
# (gtest_discover_tests trips over brackets and semicolons in printed parameters; here they are cut off first.)
if(NOT EXISTS "${TEST_BINARY}")
    add_test("${TEST_PREFIX}.NOT_BUILT" "${TEST_BINARY}")
    set_tests_properties("${TEST_PREFIX}.NOT_BUILT" PROPERTIES LABELS "${TEST_LABEL}")
    return()
endif()
execute_process(
    COMMAND "${TEST_BINARY}" --gtest_list_tests
    COMMAND sed -e "s/ *#.*//" -e "/^[A-Za-z0-9_ ][A-Za-z0-9_/.]*/!d" -e "/^Running main/d"
    TIMEOUT 60 OUTPUT_VARIABLE listing ERROR_VARIABLE trouble RESULTS_VARIABLE results)
if(NOT results STREQUAL "0;0" OR listing STREQUAL "")
    message(WARNING "${TEST_BINARY} --gtest_list_tests: ${results} ${trouble}")
    add_test("${TEST_PREFIX}.NOT_LISTED" "${TEST_BINARY}" --gtest_list_tests)
    set_tests_properties("${TEST_PREFIX}.NOT_LISTED" PROPERTIES
        LABELS "${TEST_LABEL}" PASS_REGULAR_EXPRESSION "never matches an empty listing")
    return()
endif()
string(REPLACE "\n" ";" lines "${listing}")
set(suite "")
foreach(line IN LISTS lines)
    if(line MATCHES "^  ([A-Za-z0-9_/]+)$")
        set(case "${suite}${CMAKE_MATCH_1}")
        add_test("${TEST_PREFIX}.${case}" "${TEST_BINARY}" "--gtest_filter=${case}"
            --gtest_also_run_disabled_tests)
        set_tests_properties("${TEST_PREFIX}.${case}" PROPERTIES
            LABELS "${TEST_LABEL}" TIMEOUT ${TEST_TIMEOUT} WORKING_DIRECTORY "${TEST_WORKDIR}"
            RUN_SERIAL ${TEST_SERIAL} SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\]")
        if(case MATCHES "(^|[./])DISABLED_")
            set_tests_properties("${TEST_PREFIX}.${case}" PROPERTIES DISABLED TRUE)
        endif()
    elseif(line MATCHES "^([A-Za-z0-9_/]+\\.)$")
        set(suite "${CMAKE_MATCH_1}")
    endif()
endforeach()
