use super::*;

#[test]
fn a_close_code_is_known_by_its_number() {
    for code in CloseCode::ALL {
        assert_eq!(CloseCode::from_u16(code.as_u16()), Some(*code));
    }
    // 1005 and 1006 never travel; 4000 was never given.
    for number in [0, 1004, 1005, 1006, 4000, 4006, u16::MAX] {
        assert_eq!(CloseCode::from_u16(number), None, "{number}");
    }
}
