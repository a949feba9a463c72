"""The checks of scikit-learn for estimators."""

from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from tuner.sklearn import TunerSearchCV


@parametrize_with_checks(
    [
        TunerSearchCV(
            LogisticRegression(),
            {"C": [0.1, 1.0]},
            optimizer="random",
            cv=2,
            error_score="raise",
            random_state=0,
        )
    ]
)
def test_a_check_of_scikit_learn(estimator, check):
    check(estimator)
